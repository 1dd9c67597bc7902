"""What is inside a stored payload, for people: arguments, options, attempts. Nothing of it is
imported, unpickled or run, and what is damaged is shown as damaged.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from django.contrib.admin.utils import quote
from django.urls import NoReverseMatch, reverse
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext_lazy

from djqueue import history, payload
from djqueue.admin.masking import MASK, is_secret, masked
from djqueue.bus.showing import readable
from djqueue.decision import Happened
from djqueue.errors import InvalidPayload

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.utils.functional import _StrPromise

VISIBLE = "djqueue.view_payload"
"""The permission to see values."""
LARGEST = 64 * 1024
"""Characters of a payload, or of one value, that a page shows."""
_PLAIN = (str, int, float)
_KINDS: Mapping[str, _StrPromise] = {
    Happened.RAISED.value: gettext_lazy("Error"),
    Happened.TIMED_OUT.value: gettext_lazy("Timed out"),
    Happened.DIED.value: gettext_lazy("Process died"),
    Happened.RELEASED.value: gettext_lazy("Released"),
    Happened.FAILED.value: gettext_lazy("Failed"),
    Happened.INTERRUPTED.value: gettext_lazy("Interrupted"),
    Happened.EXHAUSTED.value: gettext_lazy("No try left"),
}


class Argument(NamedTuple):
    """A line of the table of arguments."""

    name: str
    kind: str
    value: str
    url: str = ""
    """The admin page of a model instance, where it has one."""


@dataclass(frozen=True)
class Contents:
    """A payload as the page of a job shows it."""

    arguments: list[Argument]
    options: list[tuple[str, str]]
    raw: str = ""
    """The masked JSON; empty for those who may not see values."""
    raw_length: int = 0
    """Characters that `raw` leaves out, if any."""
    problem: str = ""
    """Why nothing of it can be shown."""


class Attempt(NamedTuple):
    """An entry of a job's history."""

    number: int
    at: datetime | None
    kind: str
    error: str
    message: str


def contents(text: str, admin_site: str, *, visible: bool) -> Contents:
    """Read a stored payload; without `visible` only the names of its arguments."""
    try:
        read = payload.decode(text)
    except InvalidPayload as error:
        return Contents([], [], problem=str(error))
    read, problem = readable(read)
    arguments = [
        _argument(str(name), value, admin_site) if visible else Argument(str(name), "", MASK)
        for name, value in read.arguments.items()
    ]
    raw = _raw(text, read) if visible else ""
    left_out = max(0, len(raw) - LARGEST)
    return Contents(arguments, _options(read), raw[:LARGEST], left_out, problem)


def _argument(name: str, value: Any, admin_site: str) -> Argument:
    kind = _kind(value)
    if is_secret(name):
        return Argument(name, kind, MASK)
    if kind == "model":
        return Argument(name, kind, _model(value), _model_url(value, admin_site))
    if isinstance(value, dict) and "$" in value and isinstance(value.get("v"), _PLAIN):
        return Argument(name, kind, str(value["v"])[:LARGEST])
    if isinstance(value, str):
        return Argument(name, kind, value[:LARGEST])
    return Argument(name, kind, _json(masked(value))[:LARGEST])


def _kind(value: Any) -> str:
    if isinstance(value, dict) and isinstance(value.get("$"), str):
        label = value.get("t")
        return label if isinstance(label, str) else str(value["$"])
    return "None" if value is None else type(value).__name__


def _model(value: Mapping[str, Any]) -> str:
    return f"{value.get('m', '?')} {_json(value.get('k'))}"


def _model_url(value: Mapping[str, Any], admin_site: str) -> str:
    key, label = value.get("k"), str(value.get("m", ""))
    if not isinstance(key, (str, int)):
        return ""
    name = f"admin:{label.replace('.', '_').lower()}_change"
    try:
        return reverse(name, args=[quote(key)], current_app=admin_site)
    except NoReverseMatch:  # not in this admin
        return ""


def _options(read: payload.Payload) -> list[tuple[str, str]]:
    limits = read.head.limits
    options = [
        (field.name, _json(value))
        for field in fields(limits)
        if (value := getattr(limits, field.name)) != field.default
    ]
    if read.retry_until is not None:
        until = datetime.fromtimestamp(read.retry_until, tz=timezone.utc)
        options.append(("retry_until", until.isoformat(timespec="seconds")))
    if read.tags:
        options.append(("tags", ", ".join(read.tags)))
    return options


def _raw(text: str, read: payload.Payload) -> str:
    data = json.loads(text)
    if read.packed is None and data.pop("packed", None) is not None:
        data["arguments"] = dict(read.arguments)
    if data.get("context"):
        data["context"] = MASK  # some of it is never shown to anybody
    return _json(masked(data))


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def attempts(text: str) -> list[Attempt]:
    """The entries of a stored history, oldest first."""
    return [
        Attempt(
            number=int(entry["attempt"]) if isinstance(entry.get("attempt"), int) else 0,
            at=_moment(entry.get("at")),
            kind=str(_KINDS.get(str(entry.get("kind")), entry.get("kind", ""))),
            error=str(entry.get("class", "")),
            message=str(entry.get("message", "")),
        )
        for entry in _entries(text)
    ]


def _entries(text: str) -> list[dict[str, Any]]:
    """What is stored may have been written by anybody."""
    entries: list[Any] = history.read(text).attempts
    return [entry for entry in entries if isinstance(entry, dict)]


def _moment(value: object) -> datetime | None:
    try:
        return parse_datetime(str(value))
    except ValueError:
        return None
