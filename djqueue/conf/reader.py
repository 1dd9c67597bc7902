"""Reading the project's ``DJQUEUE`` dict into `Settings`. Problems are noted, never raised."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from djqueue.conf.values import (
    ConnectionSettings,
    LimitSettings,
    PayloadSettings,
    Problem,
    Route,
    Settings,
    did_you_mean,
)

DEFAULT_CONNECTIONS: Mapping[str, Mapping[str, Any]] = {
    "database": {"DRIVER": "database"},
    "sync": {"DRIVER": "sync"},
    "null": {"DRIVER": "null"},
}
CONNECTION_KEYS = (
    "DRIVER",
    "QUEUE",
    "RETRY_AFTER",
    "AFTER_COMMIT",
    "COMPRESS_ABOVE",
    "STORE_ABOVE",
    "OUTBOX",
)
"""The keys of every connection; other keys belong to the driver."""


class Kind(NamedTuple):
    """A kind of value: its name in messages, and a test."""

    words: str
    accepts: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _are_texts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(_is_text(item) for item in value)


def _is_fernet_key(value: str) -> bool:
    try:
        return len(base64.urlsafe_b64decode(value.encode("ascii"))) == 32
    except ValueError:
        return False


def _or_none(kind: Kind) -> Kind:
    return Kind(f"{kind.words}, or None", lambda v: v is None or kind.accepts(v))


TEXT = Kind("a text that is not empty", _is_text)
FLAG = Kind("True or False", lambda value: isinstance(value, bool))
SECONDS = Kind("a number of seconds, 0 or more", lambda v: _is_number(v) and v >= 0)
DURATION = Kind("a number of seconds above 0", lambda v: _is_number(v) and v > 0)
TEXTS = Kind("a list of texts", _are_texts)
BYTES = Kind("a number of bytes, 0 or more", lambda v: type(v) is int and v >= 0)
SIZE = Kind("a number of bytes above 0", lambda v: type(v) is int and v > 0)
DICT = Kind("a dict", lambda value: isinstance(value, Mapping))


class Section:
    """One dict of the setting. It gives values by key, and notes those of a wrong kind."""

    def __init__(
        self, data: Any, where: str, problems: list[Problem], connection: str | None = None
    ) -> None:
        self.where = where
        self.problems = problems
        self.connection = connection
        self.known: list[str] = []
        self.is_dict = isinstance(data, Mapping)
        self.data: Mapping[Any, Any] = data if self.is_dict else {}
        if not self.is_dict:
            self.note(
                "djqueue.E001",
                f"{where} is of type {type(data).__name__}, not a dict.",
                f"Write {where} as a dict, or remove it to use the defaults.",
            )

    def take(self, key: str, default: Any, kind: Kind) -> Any:
        """Return the value of `key`. If it is not of that kind, note it and return the default."""
        self.known.append(key)
        if key not in self.data:
            return default
        value = self.data[key]
        if kind.accepts(value):
            return value
        self.note(
            "djqueue.E003",
            f'{self.where}["{key}"] is {value!r}, not {kind.words}.',
            f"Set it to {kind.words}, or remove it to use the default.",
        )
        return default

    def section(self, key: str) -> Section:
        """Return the dict under `key`, or an empty one."""
        self.known.append(key)
        return Section(
            self.data.get(key, {}), f'{self.where}["{key}"]', self.problems, self.connection
        )

    def refuse_others(self) -> None:
        """Note all keys that were not read."""
        for key in self.data:
            if key not in self.known:
                self.problems.append(unknown_key(self.where, key, self.known, self.connection))

    def note(self, code: str, message: str, hint: str) -> None:
        """Note a problem of this section; `code` is the id of the check that reports it."""
        self.problems.append(Problem(code, message, hint, self.connection))


NOT_HERE: Mapping[str, str] = {
    "GUARD": "Remove it: guard rows are always kept. Without them a job may run twice at once, and "
    "its attempts are not counted.",
    **dict.fromkeys(
        (
            *("CLOSURE_KEYS", "COMMANDS", "NOTIFY"),
            *("KEEP_DONE", "KEEP_FOR", "BATCHES"),
        ),
        "Remove it: this version of djqueue does not use it, so it has no effect.",
    ),
}
"""Keys of other versions, and why they are not known."""


def unknown_key(where: str, key: object, known: list[str], connection: str | None) -> Problem:
    """Return the problem of an unknown key."""
    why = NOT_HERE.get(str(key)) or did_you_mean(key, known).lstrip()
    return Problem(
        "djqueue.E002",
        f"{where} has an unknown key {key!r}.",
        f"{why} Known keys: {', '.join(sorted(known))}.".lstrip(),
        connection,
        fatal=False,
    )


def read(raw: Any) -> Settings:
    """Return the `Settings` of the value of ``DJQUEUE``. None is the same as an empty dict."""
    problems: list[Problem] = []
    top = Section({} if raw is None else raw, "DJQUEUE", problems)
    prune = top.section("PRUNE_AFTER")
    results = top.section("RESULTS")
    batches = top.section("BATCHES")
    mask = top.section("MASK")
    result = Settings(
        default=top.take("DEFAULT", "database", TEXT),
        connections=_connections(top),
        after_commit=top.take("AFTER_COMMIT", True, FLAG),
        failed_jobs=_failed_jobs(top),
        batches=batches.take("DATABASE", "default", TEXT),
        results=results.take("DATABASE", "default", TEXT),
        payloads=_payloads(top),
        limits=_limits(top),
        middleware=tuple(top.take("MIDDLEWARE", (), TEXTS)),
        routes=_routes(top),
        unknown_job_grace=float(top.take("UNKNOWN_JOB_GRACE", 600, SECONDS)),
        prune_failed_jobs=_age(prune, "FAILED_JOBS", None),
        prune_payloads=_age(prune, "PAYLOADS", 15 * 86400),
        encryption_keys=_encryption_keys(top),
        mask=(_names(mask, "add"), _names(mask, "remove")),
    )
    for section in (prune, results, batches, mask, top):
        section.refuse_others()
    return replace(result, problems=tuple(problems))


def _encryption_keys(top: Section) -> tuple[str, ...]:
    """The keys; where one is none, a note that does not show it."""
    top.known.append("ENCRYPTION_KEYS")
    keys = top.data.get("ENCRYPTION_KEYS", ())
    if _are_texts(keys) and all(map(_is_fernet_key, keys)):
        return tuple(keys)
    top.note(
        "djqueue.E003",
        f'{top.where}["ENCRYPTION_KEYS"] is not a list of keys of 32 bytes in URL-safe base64.',
        "Make a key with cryptography.fernet.Fernet.generate_key().decode().",
    )
    return ()


def _connections(top: Section) -> dict[str, ConnectionSettings]:
    top.known.append("CONNECTIONS")
    where = f'{top.where}["CONNECTIONS"]'
    every = Section(top.data.get("CONNECTIONS", DEFAULT_CONNECTIONS), where, top.problems)
    return {
        str(name): _connection(
            str(name), Section(data, f'{where}["{name}"]', top.problems, connection=str(name))
        )
        for name, data in (every.data if every.is_dict else DEFAULT_CONNECTIONS).items()
    }


def _connection(name: str, section: Section) -> ConnectionSettings:
    if section.is_dict and "DRIVER" not in section.data:
        section.note(
            "djqueue.E003",
            f'{section.where} has no "DRIVER".',
            'Add one, for example "DRIVER": "database".',
        )
    driver = section.take("DRIVER", "", TEXT)
    queue = section.take("QUEUE", "default", TEXT)
    retry_after = float(section.take("RETRY_AFTER", 90, DURATION))
    after_commit = section.take("AFTER_COMMIT", None, _or_none(FLAG))
    compress_above = section.take("COMPRESS_ABOVE", 4096, _or_none(BYTES))
    store_above = section.take("STORE_ABOVE", None, _or_none(BYTES))
    outbox = section.take("OUTBOX", False, FLAG)
    options = {
        key: value
        for key, value in section.data.items()
        if isinstance(key, str) and key.isupper() and key not in section.known
    }
    return ConnectionSettings(
        name,
        driver,
        queue,
        retry_after,
        after_commit,
        compress_above,
        store_above,
        outbox,
        options,
    )


def _failed_jobs(top: Section) -> str | None:
    if top.data.get("FAILED_JOBS", {}) is None:
        top.known.append("FAILED_JOBS")
        return None
    section = top.section("FAILED_JOBS")
    alias: str = section.take("DATABASE", "default", TEXT)
    section.refuse_others()
    return alias


def _payloads(top: Section) -> PayloadSettings | None:
    if top.data.get("PAYLOADS", {}) is None:
        top.known.append("PAYLOADS")
        return None
    section = top.section("PAYLOADS")
    payloads = PayloadSettings(
        section.take("DATABASE", None, TEXT),
        section.take("STORAGE", None, _or_none(TEXT)),
        section.take("MAX_SIZE", PayloadSettings.max_size, SIZE),
    )
    section.refuse_others()
    return payloads


def _limits(top: Section) -> LimitSettings:
    section = top.section("LIMITS")
    limits = LimitSettings(section.take("DATABASE", None, TEXT), section.take("CACHE", None, TEXT))
    if limits.database is not None and limits.cache is not None:
        section.note(
            "djqueue.E023",
            f'{section.where} has both "DATABASE" and "CACHE".',
            "Remove one of them: the slots of limits are in a database, or in Redis.",
        )
    section.refuse_others()
    return limits


def _routes(top: Section) -> dict[str, Route]:
    routes = {}
    every = top.section("ROUTES")
    for pattern, data in every.data.items():
        section = Section(data, f'{every.where}["{pattern}"]', top.problems)
        routes[str(pattern)] = Route(
            section.take("connection", None, _or_none(TEXT)),
            section.take("queue", None, _or_none(TEXT)),
        )
        section.refuse_others()
    return routes


def _age(section: Section, key: str, default: float | None) -> float | None:
    value = section.take(key, default, _or_none(SECONDS))
    return None if value is None else float(value)


def _names(section: Section, key: str) -> tuple[str, ...]:
    return tuple(name.casefold() for name in section.take(key, (), TEXTS))
