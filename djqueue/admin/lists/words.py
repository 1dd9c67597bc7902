"""How states, times and counts are written on the screens."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from django.utils import formats, timezone
from django.utils.html import format_html
from django.utils.translation import gettext, gettext_lazy, pgettext

from djqueue.drivers.base import State
from djqueue.drivers.now import aware

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise
    from django.utils.safestring import SafeString

NOTHING = "-"

STATES: dict[State, _StrPromise] = {
    State.WAITING: gettext_lazy("Waiting"),
    State.DELAYED: gettext_lazy("Delayed"),
    State.RESERVED: gettext_lazy("Running"),
    State.STUCK: gettext_lazy("Stuck"),
}
"""What operators call the states; a reserved job is one that runs."""


def pill(kind: str, text: object) -> SafeString:
    """A status: always a text, its colour (by `kind`) only beside it."""
    return format_html('<span class="djq-pill djq-{}">{}</span>', kind, text)


def span(seconds: float) -> str:
    """A duration in its largest unit, as in ``12 s`` or ``3 h``."""
    whole = max(0, int(seconds))
    if whole < 60:
        return pgettext("duration", "%(number)d s") % {"number": whole}
    if whole < 3600:
        return pgettext("duration", "%(number)d min") % {"number": whole // 60}
    if whole < 2 * 86400:
        return pgettext("duration", "%(number)d h") % {"number": whole // 3600}
    return pgettext("duration", "%(number)d d") % {"number": whole // 86400}


def since(moment: dt.datetime, now: dt.datetime) -> float:
    """Seconds between two times; where USE_TZ is False databases give them without a zone."""
    return ((aware(now) or now) - (aware(moment) or moment)).total_seconds()


def relative(moment: dt.datetime, now: dt.datetime) -> str:
    """``3 h ago`` or ``in 4 min``."""
    seconds = since(moment, now)
    if seconds < 0:
        return gettext("in %(span)s") % {"span": span(-seconds)}
    if seconds < 1:
        return gettext("just now")
    return gettext("%(span)s ago") % {"span": span(seconds)}


def moment(value: dt.datetime | None, now: dt.datetime, *, full: bool = False) -> SafeString | str:
    """A time relative to `now`; the exact one beside it if `full`, else on hover, UTC on hover."""
    value = aware(value)
    if value is None:
        return NOTHING
    exact = formats.date_format(timezone.localtime(value), "DATETIME_FORMAT")
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        value.isoformat(timespec="seconds"),
        f"{exact} · {value.astimezone(dt.timezone.utc):%Y-%m-%d %H:%M:%S} UTC",
        f"{exact} ({relative(value, now)})" if full else relative(value, now),
    )


def state_pill(state: State, at: dt.datetime | None, now: dt.datetime) -> SafeString:
    """The state of a job with how long it has lasted, or for a delayed job will last."""
    label = STATES[state]
    if at is None:
        return pill(state.value, label)
    if state in (State.RESERVED, State.WAITING):
        return pill(state.value, f"{label} · {span(since(at, now))}")
    if state is State.STUCK:
        ago = gettext("taken %(ago)s") % {"ago": relative(at, now)}
        return pill(state.value, f"{label} · {ago}")
    return pill(state.value, f"{label} · {relative(at, now)}")
