"""How states, times and counts are written on the screens."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext

from djqueue.databases.now import aware
from djqueue.drivers.base import State
from djqueue.operations.words import STATES, relative, since, span

if TYPE_CHECKING:
    from django.utils.safestring import SafeString

NOTHING = "-"


def pill(kind: str, text: object) -> SafeString:
    """Return a status as a text, with a colour by `kind` beside it."""
    return format_html('<span class="djq-pill djq-{}">{}</span>', kind, text)


def moment(value: dt.datetime | None, now: dt.datetime, *, full: bool = False) -> SafeString | str:
    """Return a time relative to `now`. With `full` the exact time stands beside it, else it appears
    on hover; the time in UTC always appears on hover.
    """
    value = aware(value)
    if value is None:
        return NOTHING
    ago = relative(value, now)
    return _time(value, f"{_local(value)} ({ago})" if full else ago)


def exactly(value: dt.datetime | None) -> SafeString | str:
    """Return a time in the current zone; the time in UTC appears on hover."""
    value = aware(value)
    return NOTHING if value is None else _time(value, _local(value))


def _local(value: dt.datetime) -> str:
    return f"{timezone.localtime(value):%Y-%m-%d %H:%M:%S %Z}".rstrip()


def _time(value: dt.datetime, shown: str) -> SafeString:
    utc = f"{value.astimezone(dt.timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        value.isoformat(timespec="seconds"),
        utc if _local(value) == utc else f"{_local(value)} · {utc}",
        shown,
    )


def state_pill(state: State, at: dt.datetime | None, now: dt.datetime) -> SafeString:
    """Return the state of a job with how long it has lasted, or for a delayed job will last."""
    label = STATES[state]
    if at is None:
        return pill(state.value, label)
    if state in (State.RESERVED, State.WAITING):
        return pill(state.value, f"{label} · {span(since(at, now))}")
    if state is State.STUCK:
        ago = gettext("taken %(ago)s") % {"ago": relative(at, now)}
        return pill(state.value, f"{label} · {ago}")
    return pill(state.value, f"{label} · {relative(at, now)}")
