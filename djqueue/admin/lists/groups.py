"""Filters of failed jobs by what went wrong: the group, the job, and the exception class.

They offer what the newest failed jobs have, the most frequent first. All three share one count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.admin import SimpleListFilter
from django.utils.formats import number_format
from django.utils.translation import gettext_lazy as _

from djqueue.admin.lists.filters import LONGEST, Choices, named
from djqueue.operations.reports import failures
from djqueue.text import printable as text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.db.models import QuerySet
    from django.http import HttpRequest

__all__ = ["FailedExceptionFilter", "FailedGroupFilter", "FailedJobFilter"]

NEWEST = 2_000
"""Failed jobs that are counted: few enough for each look at the list."""
MOST_GROUPS = 12
MOST_NAMES = 50


def _groups(request: HttpRequest, model_admin: Any) -> list[failures.Group]:
    """Return the groups of the newest failed jobs. They are counted once a request."""
    found: list[failures.Group] | None = getattr(request, "djqueue_groups", None)
    if found is None:
        found = failures.counted(model_admin.get_queryset(request), NEWEST)
        request.djqueue_groups = found  # type: ignore[attr-defined]
    return found


def _counts(pairs: Iterable[tuple[str, int]]) -> Choices:
    """Return names with their numbers, the most frequent first."""
    counts: dict[str, int] = {}
    for name, number in pairs:
        counts[name] = counts.get(name, 0) + number
    ordered = sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:MOST_NAMES]
    return [(name, _counted(text.one_line(name, LONGEST), number)) for name, number in ordered]


def _counted(words: str, number: int) -> str:
    return f"{words} ({number_format(number, use_l10n=True, force_grouping=True)})"


def _with_chosen(choices: Choices, chosen: str | None) -> Choices:
    """Return the choices, and the chosen one although it is not among them."""
    if not chosen or chosen in [value for value, _label in choices]:
        return choices
    return [*choices, (chosen, text.one_line(chosen, 60))]


class FailedGroupFilter(SimpleListFilter):
    """Failures of one job with one exception class at one place of the code."""

    title = _("group")
    parameter_name = "group"
    NONE = "none"
    """The value for rows that are in no group."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """Return the largest groups, and the chosen one."""
        found = _groups(request, model_admin)
        chosen = request.GET.get(self.parameter_name)
        shown = [
            group
            for place, group in enumerate(found)
            if group.fingerprint and (place < MOST_GROUPS or group.fingerprint == chosen)
        ]
        return _with_chosen([(group.fingerprint, _label(group)) for group in shown], chosen)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of that group."""
        value = self.value()
        return named(queryset, "fingerprint", "" if value == self.NONE else value)


class FailedJobFilter(SimpleListFilter):
    """One job, by its name."""

    title = _("job")
    parameter_name = "job"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """Return the names of the newest failed jobs, with their numbers."""
        found = _counts((group.name, group.number) for group in _groups(request, model_admin))
        return _with_chosen(found, request.GET.get(self.parameter_name))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of that job."""
        return named(queryset, "name", self.value())


class FailedExceptionFilter(SimpleListFilter):
    """One exception class."""

    title = _("exception")
    parameter_name = "exception"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """Return the exception classes of the newest failed jobs, with their numbers."""
        groups = _groups(request, model_admin)
        found = _counts((group.exception_class, group.number) for group in groups)
        return _with_chosen(found, request.GET.get(self.parameter_name))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows with that class."""
        return named(queryset, "exception_class", self.value())


def _label(group: failures.Group) -> str:
    return _counted(f"{_last(group.name)} · {_last(group.exception_class)}", group.number)


def _last(name: str) -> str:
    """Return the last part of a dotted name."""
    return text.one_line(name.rpartition(".")[2], 60)
