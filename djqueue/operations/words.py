"""How states, spans of time and numbers are written for operators: on screens and in commands."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import TYPE_CHECKING

from django.utils import translation
from django.utils.formats import number_format
from django.utils.translation import get_language, gettext, gettext_lazy, pgettext

from djqueue.compat import has_language
from djqueue.databases.now import aware
from djqueue.drivers.base import State
from djqueue.text.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from djqueue.compat import LazyText

__all__ = [
    "STATES",
    "grouped",
    "in_english",
    "listed",
    "number_of",
    "relative",
    "since",
    "span",
    "took",
]

STATES: dict[State, LazyText] = {
    State.WAITING: gettext_lazy("Waiting"),
    State.DELAYED: gettext_lazy("Delayed"),
    State.RESERVED: gettext_lazy("Running"),
    State.STUCK: gettext_lazy("Stuck"),
}
"""What operators call the states; a reserved job is one that runs."""


def in_english() -> translation.override:
    """Return a context in which every text is in English. After it, the language that was active is
    so again; if none was, none is.
    """
    return translation.override(None, deactivate=not has_language())


def span(seconds: float) -> str:
    """Return a duration in its largest unit, as in ``12 s`` or ``3 h``."""
    whole = max(0, int(seconds))
    if whole < 60:
        return pgettext("duration", "%(number)d s") % {"number": whole}
    if whole < 3600:
        return pgettext("duration", "%(number)d min") % {"number": whole // 60}
    if whole < 2 * 86400:
        return pgettext("duration", "%(number)d h") % {"number": whole // 3600}
    return pgettext("duration", "%(number)d d") % {"number": whole // 86400}


def took(seconds: float) -> str:
    """Return how long something took: ``84 ms``, ``2.01 s``, or ``3 min``."""
    if seconds < 1:
        return pgettext("duration", "%(number)d ms") % {"number": round(seconds * 1000)}
    if seconds < 60:
        return pgettext("duration", "%(number).2f s") % {"number": seconds}
    return span(seconds)


def since(moment: dt.datetime, now: dt.datetime) -> float:
    """Return the seconds between two times. Where USE_TZ is False databases return them without a
    zone.
    """
    return ((aware(now) or now) - (aware(moment) or moment)).total_seconds()


def relative(moment: dt.datetime, now: dt.datetime) -> str:
    """Return ``3 h ago`` or ``in 4 min``."""
    seconds = since(moment, now)
    if seconds < 0:
        return gettext("in %(span)s") % {"span": span(-seconds)}
    if seconds < 1:
        return gettext("just now")
    return gettext("%(span)s ago") % {"span": span(seconds)}


def grouped(number: int) -> str:
    """Return a number with its thousands apart, as the language that is active writes it."""
    if get_language() is None:
        return f"{number:,}"
    return number_format(number, use_l10n=True, force_grouping=True)


def number_of(number: int, noun: str) -> str:
    """Return a number with its noun: ``"1 failed job"``, ``"12,431 failed jobs"``."""
    plural = "es" if noun.endswith("ch") else "s"
    return f"{number:,} {noun}{'' if number == 1 else plural}"


def listed(jobs: Sequence[tuple[str, str]], at_most: int = 10) -> str:
    """Return the jobs, given as name and id, as a text: each one if they are few, else a number for
    each name.
    """
    if len(jobs) <= at_most:
        return ", ".join(one_line(f"{name} {id}") for name, id in jobs)
    counted = Counter(name for name, _id in jobs).most_common()
    more = f", {number_of(len(counted) - 5, 'more name')}" if len(counted) > 5 else ""
    return ", ".join(f"{count:,} of {one_line(name, 80)}" for name, count in counted[:5]) + more
