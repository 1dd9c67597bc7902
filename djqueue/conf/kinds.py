"""Options and the kinds of their values, the same for the settings, the drivers' keys and the jobs'
options: a wrong value and an unknown name get the same words everywhere.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

LONGEST = 2**31 - 1
"""The most seconds that any duration has: 68 years. A longer one is a mistake, and some stores
cannot hold it."""


class Mistake(NamedTuple):
    """What is wrong, and what to do about it."""

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what} {self.remedy}"


@dataclass(frozen=True)
class Kind:
    """A kind of values."""

    words: str
    """What its values are, as ``a text``: for errors and the reference."""
    accepts: Callable[[Any], bool]
    explain: Callable[[Any], str | None] = lambda _: None
    """Returns more exact words for a value that is not accepted, or None."""
    keep: Callable[[Any], Any] = lambda value: value
    """Returns the form in which an accepted value is kept."""
    remedy: str = "Correct it"
    """What to do about a value that is not accepted."""
    secret: bool = False
    """Whether a value may hold a password, so that no error shows it."""

    def check(self, value: Any) -> str | None:
        """Return None if `value` is of this kind, else what it is not, in words."""
        return None if self.accepts(value) else self.explain(value) or self.words


class Option(NamedTuple):
    """One option: its default, and the kind of its values."""

    default: Any
    kind: Kind

    def mistake(self, place: str, value: Any) -> Mistake | None:
        """Return what is wrong with the `value` that stands at `place`, if anything is."""
        reason = self.kind.check(value)
        if reason is None:
            return None
        shown = "is not" if self.kind.secret else f"is {value!r}, not"
        usual = "" if self.default in (None, "", (), {}) else f" to use the default, {self.default}"
        return Mistake(f"{place} {shown} {reason}.", f"{self.kind.remedy}, or remove it{usual}.")


def mistakes(
    place: str, given: Mapping[str, Any], options: Mapping[str, Option]
) -> Iterator[Mistake]:
    """Find the values in `given`, the dict at `place`, that are not of their option's kind."""
    for name, option in options.items():
        if name in given and (wrong := option.mistake(f'{place}["{name}"]', given[name])):
            yield wrong


def unknown(
    place: str, name: object, known: Iterable[str], why: Mapping[str, str], noun: str = "key"
) -> Mistake:
    """Return the mistake of a name that is not `known`. `why` has advice for names of other
    versions and other queues.
    """
    advice = why.get(str(name)) or did_you_mean(name, known).lstrip()
    every = f"Known {noun}s: {', '.join(sorted(known))}."
    return Mistake(f"{place} has an unknown {noun} {name!r}.", f"{advice} {every}".lstrip())


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """Return ``' Did you mean "x"?'`` for the nearest of `known`, else an empty text."""
    by_fold = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(str(word).casefold(), by_fold, n=1)
    return f' Did you mean "{by_fold[near[0]]}"?' if near else ""


# -- kinds -----------------------------------------------------------------------------------------


def is_number(value: Any) -> bool:
    """Return whether `value` is a finite number, and not a bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def whole(low: int, high: int | None = None, of: str = "") -> Kind:
    """Return the kind of whole numbers from `low` to `high`; `of` says what they count."""
    what = f"a number of {of}" if of else "a whole number"
    bounds = f", {low} or more" if high is None else f" from {low} to {high}"
    return Kind(
        f"{what}{bounds}",
        lambda v: type(v) is int and low <= v and (high is None or v <= high),
    )


def choice(*values: Any) -> Kind:
    """Return the kind of these values only."""
    *others, last = map(repr, values)
    types = {type(value) for value in values}
    return Kind(f"{', '.join(others)} or {last}", lambda v: type(v) in types and v in values)


def list_of(words: str, accepts: Callable[[Any], bool]) -> Kind:
    """Return the kind of lists and tuples whose items are accepted. It is kept as a tuple."""

    def explain(value: Any) -> str | None:
        return f"{words}: write [{value!r}]" if _is_text(value) and accepts(value) else None

    return Kind(
        words, lambda v: isinstance(v, (list, tuple)) and all(map(accepts, v)), explain, tuple
    )


def or_none(kind: Kind) -> Kind:
    """Return the kind that takes None too."""
    return replace(
        kind,
        words=f"{kind.words}, or None",
        accepts=lambda v: v is None or kind.accepts(v),
        keep=lambda v: None if v is None else kind.keep(v),
    )


def named(words: str) -> Kind:
    """Return the kind of texts that are not empty and name something: ``an alias of CACHES``."""
    return Kind(words, _is_text)


def _too_long(value: Any) -> str | None:
    return f"at most {LONGEST} seconds (68 years)" if is_number(value) and value > LONGEST else None


TEXT = Kind("a text that is not empty", _is_text)
ANY_TEXT = Kind("a text", lambda value: isinstance(value, str))
ALIAS = named("an alias of DATABASES")
FLAG = Kind("True or False", lambda value: isinstance(value, bool))
SECONDS = Kind(
    "a number of seconds, 0 or more", lambda v: is_number(v) and 0 <= v <= LONGEST, _too_long
)
DURATION = Kind(
    "a number of seconds above 0", lambda v: is_number(v) and 0 < v <= LONGEST, _too_long
)
TEXTS = list_of("a list of texts that are not empty", _is_text)
BYTES = whole(0, of="bytes")
WINDOW = whole(1, 1000, of="jobs")
DICT = Kind("a dict", lambda value: isinstance(value, Mapping))
