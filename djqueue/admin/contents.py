"""What is inside a stored payload, for people: arguments, options, attempts. Nothing of it is
imported, unpickled or run, and what is damaged is shown as damaged.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from django.contrib.admin.utils import quote
from django.urls import NoReverseMatch, reverse
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext_lazy

from djqueue.errors import InvalidPayload
from djqueue.operations.describe import options_of, read_for_people, remark_on
from djqueue.payload import history, payload
from djqueue.payload.encryption import ENCRYPTED_CONTEXT, SHOWN
from djqueue.runner.decision import Ending
from djqueue.text import printable as text
from djqueue.text import tracebacks
from djqueue.text.masking import MASK, is_secret, masked, masked_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from djqueue.compat import LazyText

VISIBLE = "djqueue.view_payload"
"""The permission to see values."""
EXCEPTIONS_VISIBLE = "djqueue.view_exception"
"""The permission to see more of an exception than its class."""
LARGEST = 64 * 1024
"""Characters of a payload, or of one value, that a page shows."""
MOST = 200
"""Arguments, and tags, that a page shows."""
_PLAIN = (str, int, float)
_ENCRYPTED = gettext_lazy("The arguments are encrypted, and are not shown.")
_KINDS: Mapping[str, LazyText] = {
    Ending.RAISED.value: gettext_lazy("Error"),
    Ending.TIMED_OUT.value: gettext_lazy("Timed out"),
    Ending.DIED.value: gettext_lazy("Process died"),
    Ending.RELEASED.value: gettext_lazy("Released"),
    Ending.FAILED.value: gettext_lazy("Failed"),
    Ending.INTERRUPTED.value: gettext_lazy("Interrupted"),
    Ending.EXHAUSTED.value: gettext_lazy("No try left"),
    Ending.HELD_BACK.value: gettext_lazy("Held back"),
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
    more: int = 0
    """How many arguments are left out."""
    display_name: str = ""
    """Empty where the class computes none, and for those who may not see values."""
    remark: str = ""
    """Why no worker would run it."""
    tries: int | None = None
    """The most attempts that it has; None if it does not say, 0 for no limit."""
    sent: datetime | None = None
    """The time of its dispatch."""


class Frames(NamedTuple):
    """A part of a traceback."""

    text: str
    frames: int
    folded: bool
    """It is code of libraries, between which the project's own stands."""


class Attempt(NamedTuple):
    """An entry of a job's history."""

    number: int
    at: datetime | None
    kind: str
    error: str
    message: str


def contents(stored: str, admin_site: str, *, visible: bool, name: str = "") -> Contents:
    """Read a stored payload. Without `visible` only the names of its arguments are read. `name` is
    the job's name in its row.
    """
    try:
        read, problem = read_for_people(stored)
    except InvalidPayload as error:
        return Contents([], [], problem=_shown(masked_text(str(error))))
    pairs = list(read.arguments.items())
    arguments = [
        _argument(str(name), value, admin_site)
        if visible
        else Argument(text.one_line(name, LARGEST), "", MASK)
        for name, value in pairs[:MOST]
    ]
    raw = _raw(stored, read) if visible else ""
    return Contents(
        arguments,
        _options(read, visible=visible),
        raw=raw[:LARGEST],
        raw_length=max(0, len(raw) - LARGEST),
        problem=str(_ENCRYPTED) if read.head.limits.encrypted else _shown(masked_text(problem)),
        display_name=text.one_line(masked_text(read.display_name)) if visible else "",
        more=max(0, len(pairs) - MOST),
        remark=text.one_line(remark_on(read.head.name, name)) if name else "",
        tries=read.head.limits.tries,
        sent=datetime.fromtimestamp(read.sent, tz=timezone.utc) if read.sent else None,
    )


def name_fact(shown: Contents) -> list[tuple[LazyText, str]]:
    """Return the display name as a fact of a job's page; no fact if the job has none."""
    return [(gettext_lazy("Display name"), shown.display_name)] if shown.display_name else []


def _argument(name: str, value: Any, admin_site: str) -> Argument:
    label, kind = text.one_line(name, LARGEST), text.one_line(_kind(value), 200)
    if is_secret(name):
        return Argument(label, kind, MASK)
    if kind == "model":
        return Argument(label, kind, _shown(_model(value)), _model_url(value, admin_site))
    if isinstance(value, dict) and "$" in value and isinstance(value.get("v"), _PLAIN):
        return Argument(label, kind, _shown(str(masked(value["v"]))))
    if isinstance(value, str):
        return Argument(label, kind, _shown(masked_text(value)))
    return Argument(label, kind, _json(masked(value)))


def _shown(value: str) -> str:
    return text.lines(value[:LARGEST])


def _kind(value: Any) -> str:
    if isinstance(value, dict) and isinstance(value.get("$"), str):
        label = value.get("t")
        return label if isinstance(label, str) else str(value["$"])
    return "None" if value is None else type(value).__name__


def _model(value: Mapping[str, Any]) -> str:
    return f"{value.get('m', '?')} {_json(masked(value.get('k')))}"


def _model_url(value: Mapping[str, Any], admin_site: str) -> str:
    key, label = value.get("k"), str(value.get("m", ""))
    if not isinstance(key, (str, int)):
        return ""
    name = f"admin:{label.replace('.', '_').lower()}_change"
    try:
        return reverse(name, args=[quote(key)], current_app=admin_site)
    except (NoReverseMatch, UnicodeError):  # not in this admin, or no key that a URL can hold
        return ""


def _options(read: payload.Payload, *, visible: bool) -> list[tuple[str, str]]:
    options = [(name, _json(value)) for name, value in options_of(read.head.limits).items()]
    if read.retry_until is not None:
        until = datetime.fromtimestamp(read.retry_until, tz=timezone.utc)
        options.append(("retry_until", until.isoformat(timespec="seconds")))
    if read.tags:  # values, most often: customer:7
        shown = ", ".join(masked(list(read.tags[:MOST]))) if visible else MASK
        options.append(("tags", text.one_line(shown, LARGEST)))
    return options


def _raw(stored: str, read: payload.Payload) -> str:
    data = json.loads(stored)
    if read.packed is None and data.pop("packed", None) is not None:
        data["arguments"] = dict(read.arguments)
    if read.head.limits.encrypted:
        data["arguments"] = SHOWN
    if ENCRYPTED_CONTEXT in read.context:
        data["context"] = {**read.context, ENCRYPTED_CONTEXT: SHOWN}
    if read.context.get("hidden"):
        data["context"] = {**read.context, "hidden": MASK}
    return _json(masked(data), cut=False)


def _json(value: Any, *, cut: bool = True) -> str:
    compact = json.dumps(value, ensure_ascii=False)
    # Indenting is slow, and what is deep becomes many times as long.
    shown = json.dumps(value, indent=2, ensure_ascii=False) if len(compact) < LARGEST else compact
    return text.lines(shown[:LARGEST] if cut else shown)


def traceback(stored: str) -> list[Frames]:
    """Return a stored traceback in parts, so that a page shows the project's own code and folds
    the rest. Without code of its own nothing is folded.
    """
    found = tracebacks.parts(text.lines(masked_text(tracebacks.without_token(stored))))
    has_own = any(part.frames and not part.library for part in found)
    return [
        Frames(part.text, part.frames, has_own and part.library)
        for part in found
        if part.text.strip()
    ]


def attempts(stored: str, *, visible: bool) -> list[Attempt]:
    """Return the entries of a stored history, oldest first; without messages unless they are
    `visible`.
    """
    return [
        Attempt(
            number=int(entry["attempt"]) if isinstance(entry.get("attempt"), int) else 0,
            at=_moment(entry.get("at")),
            kind=text.one_line(_KINDS.get(str(entry.get("kind")), entry.get("kind", "")), 200),
            error=text.one_line(entry.get("class", ""), 255),
            message=_shown(masked_text(str(entry.get("message", "")))) if visible else "",
        )
        for entry in _entries(stored)
    ]


def _entries(stored: str) -> list[dict[str, Any]]:
    """Return the entries that are dicts: the stored text may come from anywhere."""
    entries: list[Any] = history.read(stored).attempts[-MOST:]
    return [entry for entry in entries if isinstance(entry, dict)]


def _moment(value: object) -> datetime | None:
    try:
        return parse_datetime(str(value))
    except ValueError:
        return None
