"""What the ``DJQUEUE`` setting holds, as values that cannot be changed."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from django.utils.module_loading import import_string

from djqueue.errors import ConfigurationError, UnknownConnection

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """``' Did you mean "x"?'`` for the nearest of `known`, or an empty text. Case is ignored."""
    by_fold = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(str(word).casefold(), by_fold, n=1)
    return f' Did you mean "{by_fold[near[0]]}"?' if near else ""


class Problem(NamedTuple):
    """Something in the setting that is wrong. The system checks show it."""

    id: str
    message: str
    hint: str
    connection: str | None = None
    """The connection it is about; None when it is about them all."""
    fatal: bool = True
    """False where a default can take the value's place without harm."""


class Route(NamedTuple):
    """Where ``DJQUEUE["ROUTES"]`` sends a job. None: as without a route."""

    connection: str | None = None
    queue: str | None = None


NO_ROUTE = Route()


@dataclass(frozen=True)
class ConnectionSettings:
    """One of ``DJQUEUE["CONNECTIONS"]``."""

    name: str
    driver: str
    """A short name (``database``, ``redis``, …) or a dotted path."""
    queue: str = "default"
    retry_after: float = 90.0
    """Seconds without a sign of life after which a reserved job may be reserved again."""
    after_commit: bool | None = None
    """None: as ``DJQUEUE["AFTER_COMMIT"]`` says."""
    compress_above: int | None = 4096
    """Payloads of more bytes are compressed; None and 0: none."""
    store_above: int | None = None
    """Payloads of more bytes are moved to the payload store; None and 0: those that the driver
    cannot take."""
    outbox: bool = False
    """Jobs that wait for a commit are written to the outbox in its transaction."""
    options: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)
    """The driver's own keys, exactly as the project wrote them."""
    defaults: Mapping[str, Any] = field(default_factory=dict, hash=False, compare=False, repr=False)
    """What the driver's keys are when the project says nothing. A `Driver` fills it in."""

    def with_defaults(self, defaults: Mapping[str, Any]) -> ConnectionSettings:
        """The same connection, knowing its driver's own keys."""
        return replace(self, defaults=defaults)

    def option(self, key: str) -> Any:
        """The project's value of a driver's own key, else the driver's default for it."""
        if key in self.options:
            return self.options[key]
        return self.defaults[key]

    @property
    def jobs_in_sql(self) -> bool:
        """Whether the jobs are kept in one of the project's databases: the driver's to say. A
        ``DATABASE`` of another driver's has its guard rows.
        """
        return _keeps_jobs_in_database(self.driver)

    @property
    def database(self) -> str:
        """The alias of the database that holds the jobs, on drivers that keep them in one."""
        return str(self.options.get("DATABASE", "default"))


@lru_cache(maxsize=64)
def _keeps_jobs_in_database(driver: str) -> bool:
    if "." not in driver:
        return driver == "database"  # no client library is imported to learn that
    try:
        return bool(getattr(import_string(driver), "jobs_in_sql", False))
    except ImportError:  # a check says so
        return False


@dataclass(frozen=True)
class PayloadSettings:
    """Where arguments go that are too large for a store of jobs."""

    database: str | None = None
    """The alias that has a row for each; None: that of the default connection."""
    storage: str | None = None
    """The alias in ``STORAGES`` that has the data; None: the row has it."""
    max_size: int = 64 * 1024 * 1024
    """Bytes of arguments, as JSON, that a job may have. Larger ones are refused, at both ends."""


@dataclass(frozen=True)
class Settings:
    """The whole setting. Durations are in seconds."""

    default: str
    connections: Mapping[str, ConnectionSettings]
    after_commit: bool = True
    failed_jobs: str | None = "default"
    """The database alias of the failed jobs; None keeps none."""
    batches: str = "default"
    results: str = "default"
    payloads: PayloadSettings | None = PayloadSettings()
    """None: arguments that a store cannot take are refused."""
    routes: Mapping[str, Route] = field(default_factory=dict)
    unknown_job_grace: float = 600.0
    prune_failed_jobs: float | None = None
    prune_payloads: float | None = 15 * 86400.0
    """How long large arguments are kept whose job cannot be looked up."""
    mask: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    """Names whose values people never see beside the usual ones, and names that are no secret."""
    problems: tuple[Problem, ...] = ()

    def connection(self, name: str | None = None) -> ConnectionSettings:
        """The connection called `name`, or the default one.

        Raises `UnknownConnection`, or `ConfigurationError` when a value that it needs is wrong.
        """
        wanted = self.default if name is None else name
        for problem in self.problems:
            if problem.fatal and problem.connection in (None, wanted):
                raise ConfigurationError(f"{problem.message} {problem.hint}")
        try:
            return self.connections[wanted]
        except KeyError:
            raise UnknownConnection(
                f'Unknown queue connection "{wanted}". DJQUEUE["CONNECTIONS"] defines: '
                f"{', '.join(self.connections) or 'nothing'}."
                f"{did_you_mean(wanted, self.connections)}"
            ) from None

    def route(self, job_name: str) -> Route:
        """Where a job of that name goes: its exact name first, then the first pattern that fits."""
        exact = self.routes.get(job_name)
        if exact is not None:
            return exact
        for pattern, route in self.routes.items():
            if fnmatchcase(job_name, pattern):
                return route
        return NO_ROUTE

    @property
    def databases(self) -> tuple[str, ...]:
        """Every database alias that djqueue keeps something in; `job_database` first."""
        stores = [c for c in self.connections.values() if c.jobs_in_sql]
        stores.sort(key=lambda connection: connection.name != self.default)
        aliases = [connection.database for connection in stores]
        own = self.payloads.database if self.payloads else None
        guards = [c.options.get("DATABASE") for c in self.connections.values()]
        others = (self.failed_jobs, self.batches, self.results, own, *guards)
        aliases += [alias for alias in others if isinstance(alias, str)]
        return tuple(dict.fromkeys(aliases))

    @property
    def payload_database(self) -> str:
        """The database alias with a row for each payload in the payload store."""
        return (self.payloads and self.payloads.database) or self.job_database

    @property
    def job_database(self) -> str:
        """The database alias of the default connection, or else of the first that has one."""
        return self.databases[0]
