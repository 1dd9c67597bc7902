"""The registry: the jobs that the running code knows, by their stored names.

A payload names its job, and only a name found here is run: nothing is imported because a payload
names it. A module that defines jobs registers them when it is imported.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from djqueue.conf import did_you_mean
from djqueue.errors import UnknownJob

if TYPE_CHECKING:
    from djqueue.jobs.definition.spec import JobSpec

__all__ = [
    "Duplicate",
    "Origin",
    "Registry",
    "all",
    "class_of",
    "debounces",
    "duplicates",
    "find",
    "register",
    "unregister",
]


class Origin(NamedTuple):
    """The file and name of a job's code. A file imported under two module names is one place."""

    file: str
    qualname: str

    def __str__(self) -> str:
        return f"{self.qualname} in {self.file}"


class Duplicate(NamedTuple):
    """A name that several jobs have."""

    name: str
    origins: tuple[Origin, ...]


def origin(spec: JobSpec) -> Origin:
    """Return where the job of `spec` is written."""
    module = spec.job_class.__module__
    file = getattr(sys.modules.get(module), "__file__", None)
    return Origin(file or module, spec.job_class.__qualname__)


class Registry:
    """Names to jobs. Several jobs with one name are all kept, for the system check to report."""

    def __init__(self) -> None:
        self._named: dict[str, list[JobSpec]] = {}
        self._aliased: dict[str, list[JobSpec]] = {}
        self._debounced = 0

    def register(self, spec: JobSpec) -> None:
        """Add `spec`. It replaces a job with the same name and place, as after a reload."""
        place = origin(spec)
        for known in self._named.get(spec.name, ()):
            if origin(known) == place:
                self._drop(known)
                break
        self._named.setdefault(spec.name, []).append(spec)
        self._debounced += spec.options.debounce is not None
        for alias in spec.aliases:
            self._aliased.setdefault(alias, []).append(spec)

    def class_of(self, name: str) -> type | None:
        """Return the class of the job with this name or alias; None where no code knows it."""
        known = self._known(name)
        return known[0].job_class if known else None

    def is_encrypted(self, name: str) -> bool:
        """Return whether the class of the job with this name or alias is encrypted."""
        known = self._known(name)
        return bool(known) and known[0].options.encrypted

    def _known(self, name: str) -> list[JobSpec]:
        return self._named.get(name) or self._aliased.get(name) or []

    def find(self, name: str) -> JobSpec:
        """Return the job with this name or alias. Raises `UnknownJob`."""
        known = self._known(name)
        if not known:
            raise UnknownJob(
                f'No running code knows a job called "{name}".{self._nearest(name)} If it was '
                f'renamed, add aliases=["{name}"] to the job under its new name.'
            )
        return known[0]

    def _nearest(self, name: str) -> str:
        """Return a hint: the same name in another app, or a similarly written one."""
        known = [*self._named, *self._aliased]
        same = [each for each in known if each.rpartition(".")[2].casefold() == name.casefold()]
        near = f' Did you mean "{same[0]}"?' if same else did_you_mean(name, known)
        return near or " Jobs are found in each app's jobs.py, and in what that imports."

    def debounces(self) -> bool:
        """Return whether any job is debounced."""
        return self._debounced > 0

    def all(self) -> list[JobSpec]:
        """Return all jobs, sorted by name."""
        return [self._named[name][0] for name in sorted(self._named)]

    def duplicates(self) -> list[Duplicate]:
        """Return the names and aliases that several jobs have, sorted."""
        found = []
        for name in sorted({*self._named, *self._aliased}):
            specs = [*self._named.get(name, ()), *self._aliased.get(name, ())]
            places = tuple(dict.fromkeys(origin(spec) for spec in specs))
            if len(places) > 1:
                found.append(Duplicate(name, places))
        return found

    def unregister(self, name: str) -> None:
        """Remove every job called `name`. For tests that define jobs of their own."""
        for spec in list(self._named.get(name, ())):
            self._drop(spec)

    def _drop(self, spec: JobSpec) -> None:
        _remove(self._named, spec.name, spec)
        self._debounced -= spec.options.debounce is not None
        for alias in spec.aliases:
            _remove(self._aliased, alias, spec)


def _remove(index: dict[str, list[JobSpec]], name: str, spec: JobSpec) -> None:
    remaining = [known for known in index.get(name, ()) if known is not spec]
    if remaining:
        index[name] = remaining
    else:
        index.pop(name, None)


_jobs = Registry()
register = _jobs.register
class_of = _jobs.class_of
debounces = _jobs.debounces
find = _jobs.find
is_encrypted = _jobs.is_encrypted
all = _jobs.all  # noqa: A001 - always read as registry.all
duplicates = _jobs.duplicates
unregister = _jobs.unregister
