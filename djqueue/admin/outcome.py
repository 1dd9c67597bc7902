"""What an action did, in words: what changed, what did not, why, and what to do next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from django.contrib import messages
from django.utils.translation import ngettext

from djqueue.text import printable as text
from djqueue.text.masking import masked_text

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.utils.functional import _StrPromise

    Words = str | _StrPromise


class Named(NamedTuple):
    """A row, as the log of admin actions names it."""

    pk: int
    label: str


class Kept(NamedTuple):
    """A row that an action left as it was."""

    reason: Reason
    details: Mapping[str, str] = {}
    """Values for the reason's words."""

    @property
    def why(self) -> str:
        """The reason, about this row."""
        words = str(self.reason.one)
        # Without details the words are somebody else's, and may have a percent sign of their own.
        return words % self.details if self.details else words


class Reason(NamedTuple):
    """Why a row was left."""

    one: Words
    """For a single row; may name its worker and the like."""
    many: Words
    hint: Words = ""
    """What to do about it."""


@dataclass(frozen=True)
class Result:
    """What became of the rows of one action."""

    changed: Sequence[Named] = ()
    kept: Sequence[Kept] = ()
    stopped: Reason | None = None
    """Why the rows that are not looked at yet had better be left alone."""

    def __add__(self, other: Result) -> Result:
        return Result([*self.changed, *other.changed], [*self.kept, *other.kept], other.stopped)


@dataclass(frozen=True)
class Wording:
    """How an action reports. Each function takes a count for its plural form."""

    done: Callable[[int], str]
    """"Deleted 3 jobs." without the full stop."""
    left: Callable[[int], str]
    """"3 jobs were not deleted" without the reason."""
    after: Callable[[int], str] = lambda count: ""
    """What to know once it is done."""


def tell(request: HttpRequest, wording: Wording, result: Result) -> None:
    """Show the result as messages."""
    if result.changed:
        count = len(result.changed)
        messages.success(request, f"{wording.done(count)}. {wording.after(count)}".rstrip())
    for reason, kept in _by_reason(result.kept):
        why = kept[0].why if len(kept) == 1 else str(reason.many)
        told = f"{wording.left(len(kept))}: {why} {reason.hint}".rstrip()
        messages.warning(request, text.one_line(masked_text(told)))


def _by_reason(kept: Iterable[Kept]) -> Iterable[tuple[Reason, list[Kept]]]:
    groups: dict[tuple[str, str], tuple[Reason, list[Kept]]] = {}
    for row in kept:
        words = str(row.reason.one), str(row.reason.many)
        groups.setdefault(words, (row.reason, []))[1].append(row)
    return groups.values()


def plural(one: str, many: str) -> Callable[[int], str]:
    """A counting sentence in the language of the request."""
    return lambda count: ngettext(one, many, count) % {"count": count}
