"""Reading the project's ``DJQUEUE`` dict into `Settings`. Problems are noted, never raised."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from djqueue.conf.kinds import (
    ALIAS,
    BYTES,
    DICT,
    DURATION,
    FLAG,
    SECONDS,
    TEXT,
    TEXTS,
    Kind,
    Option,
    choice,
    named,
    or_none,
    unknown,
    whole,
)
from djqueue.conf.values import (
    ConnectionSettings,
    LimitSettings,
    MailSettings,
    NotifySettings,
    PayloadSettings,
    Problem,
    ResultSettings,
    Route,
    Settings,
)

DEFAULT_CONNECTIONS: Mapping[str, Mapping[str, Any]] = {
    "database": {"DRIVER": "database"},
    "sync": {"DRIVER": "sync"},
    "null": {"DRIVER": "null"},
}
CONNECTION: Mapping[str, Option] = {
    "DRIVER": Option("", TEXT),
    "QUEUE": Option("default", TEXT),
    "RETRY_AFTER": Option(90, DURATION),
    "AFTER_COMMIT": Option(None, or_none(FLAG)),
    "COMPRESS_ABOVE": Option(4096, or_none(BYTES)),
    "STORE_ABOVE": Option(None, or_none(BYTES)),
    "OUTBOX": Option(False, FLAG),
}
"""The keys of every connection; other keys belong to the driver."""

ROUTE: Mapping[str, Option] = {
    "connection": Option(None, or_none(TEXT)),
    "queue": Option(None, or_none(TEXT)),
}


def _is_fernet_key(value: Any) -> bool:
    try:
        return len(base64.urlsafe_b64decode(value.encode("ascii"))) == 32
    except (AttributeError, ValueError):
        return False


KEYS = Kind(
    "a list of keys of 32 bytes in URL-safe base64",
    lambda keys: isinstance(keys, (list, tuple)) and all(map(_is_fernet_key, keys)),
    remedy="Make a key with cryptography.fernet.Fernet.generate_key().decode()",
    secret=True,
)

TOKEN = Kind(
    "a text of 16 characters or more without spaces",
    lambda value: isinstance(value, str) and len(value) >= 16 and len(value.split()) == 1,
    remedy="Make one with secrets.token_urlsafe()",
    secret=True,
)

SIGNING_KEYS = Kind(
    "a list of texts of 32 characters or more",
    lambda keys: (
        isinstance(keys, (list, tuple))
        and all(isinstance(key, str) and len(key) >= 32 for key in keys)
    ),
    remedy="Make one with secrets.token_urlsafe(32)",
    secret=True,
)

SETTINGS: Mapping[str, Any] = {
    "DEFAULT": Option("database", TEXT),
    "CONNECTIONS": Option(DEFAULT_CONNECTIONS, DICT),
    "AFTER_COMMIT": Option(True, FLAG),
    "FAILED_JOBS": {"DATABASE": Option(None, ALIAS)},
    "BATCHES": {"DATABASE": Option(None, ALIAS)},
    "RESULTS": {"DATABASE": Option(None, ALIAS), "KEEP_FOR": Option(86400, SECONDS)},
    "ENCRYPTION_KEYS": Option((), KEYS),
    "ENCRYPTION_ACCEPTS_PLAIN": Option(False, FLAG),
    "CLOSURE_KEYS": Option((), SIGNING_KEYS),
    "ROUTES": Option({}, DICT),
    "UNKNOWN_JOB_GRACE": Option(600, SECONDS),
    "PAYLOADS": {
        "DATABASE": Option(None, ALIAS),
        "STORAGE": Option(None, or_none(named("an alias of STORAGES"))),
        "MAX_SIZE": Option(PayloadSettings.max_size, whole(1, of="bytes")),
    },
    "LIMITS": {
        "DATABASE": Option(None, ALIAS),
        "CACHE": Option(None, named("an alias of CACHES")),
    },
    "MIDDLEWARE": Option((), TEXTS),
    "PRUNE_AFTER": {
        "FAILED_JOBS": Option(None, or_none(SECONDS)),
        "BATCHES": Option(7 * 86400, or_none(SECONDS)),
        "PAYLOADS": Option(15 * 86400, or_none(SECONDS)),
    },
    "STATISTICS": Option(True, FLAG),
    "KEEP_DONE": Option(0, SECONDS),
    "OPENTELEMETRY": Option(None, or_none(choice("link", "parent"))),
    "METRICS_TOKEN": Option(None, or_none(TOKEN)),
    "STREAMS": Option(Settings.streams, whole(0, of="open pages")),
    "NOTIFY": Option((), TEXTS),
    "NOTIFY_WHEN": {
        "WAIT": Option(NotifySettings.wait, DURATION),
        "FAILURES": Option(NotifySettings.failures, whole(1, of="jobs")),
        "PAUSE": Option(NotifySettings.pause, DURATION),
    },
    "COMMANDS": Option(None, or_none(TEXTS)),
    "MAIL": {
        "BACKEND": Option(MailSettings.backend, TEXT),
        "CONNECTION": Option(None, or_none(TEXT)),
        "QUEUE": Option(None, or_none(TEXT)),
    },
    "MASK": {"add": Option((), TEXTS), "remove": Option((), TEXTS)},
}
"""All keys; a dict here is a dict of the setting."""


class Section:
    """One dict of the setting. It gives values by key, and notes those of a wrong kind."""

    def __init__(
        self,
        data: Any,
        where: str,
        options: Mapping[str, Any],
        problems: list[Problem],
        connection: str | None = None,
    ) -> None:
        self.where = where
        self.options = options
        self.problems = problems
        self.connection = connection
        self.is_dict = isinstance(data, Mapping)
        self.data: Mapping[Any, Any] = data if self.is_dict else {}
        if not self.is_dict:
            self.note(
                "djqueue.E001",
                f"{where} is of type {type(data).__name__}, not a dict.",
                f"Write {where} as a dict, or remove it to use the defaults.",
            )

    def take(self, key: str) -> Any:
        """Return the value of `key`. If it is not of its kind, note it and return the default."""
        option = self.options[key]
        value = self.data.get(key, option.default)
        wrong = key in self.data and option.mistake(f'{self.where}["{key}"]', value)
        if not wrong:
            return value
        self.note("djqueue.E003", *wrong)
        return option.default

    def section(self, key: str) -> Section:
        """Return the dict under `key`, or an empty one."""
        where = f'{self.where}["{key}"]'
        return Section(self.data.get(key, {}), where, self.options[key], self.problems)

    def refuse_others(self) -> None:
        """Note all keys that there are not."""
        for key in self.data:
            if key not in self.options:
                self.problems.append(unknown_key(self.where, key, self.options, self.connection))

    def note(self, code: str, message: str, hint: str) -> None:
        """Note a problem of this section; `code` is the id of the check that reports it."""
        self.problems.append(Problem(code, message, hint, self.connection))


NOT_HERE: Mapping[str, str] = {
    "GUARD": "Remove it: guard rows are always kept. Without them a job may run twice at once, and "
    "its attempts are not counted.",
}
"""Keys of other versions, and why they are not known."""


def unknown_key(where: str, key: object, known: Iterable[str], connection: str | None) -> Problem:
    """Return the problem of an unknown key."""
    mistake = unknown(where, key, known, NOT_HERE)
    return Problem("djqueue.E002", *mistake, connection, fatal=False)


def read(raw: Any) -> Settings:
    """Return the `Settings` of the value of ``DJQUEUE``. None is the same as an empty dict."""
    problems: list[Problem] = []
    top = Section({} if raw is None else raw, "DJQUEUE", SETTINGS, problems)
    prune = top.section("PRUNE_AFTER")
    failed_jobs, batches, results = _one_database(top)
    mask = top.section("MASK")
    result = Settings(
        default=top.take("DEFAULT"),
        connections=_connections(top),
        after_commit=top.take("AFTER_COMMIT"),
        failed_jobs=failed_jobs,
        batches=batches,
        results=results,
        payloads=_payloads(top),
        limits=_limits(top),
        middleware=tuple(top.take("MIDDLEWARE")),
        routes=_routes(top),
        unknown_job_grace=float(top.take("UNKNOWN_JOB_GRACE")),
        prune_failed_jobs=_age(prune, "FAILED_JOBS"),
        prune_batches=_age(prune, "BATCHES"),
        prune_payloads=_age(prune, "PAYLOADS"),
        encryption_keys=tuple(top.take("ENCRYPTION_KEYS")),
        encryption_accepts_plain=top.take("ENCRYPTION_ACCEPTS_PLAIN"),
        closure_keys=tuple(top.take("CLOSURE_KEYS")),
        notify=_notify(top),
        mail=_mail(top),
        commands=_commands(top),
        statistics=top.take("STATISTICS"),
        keep_done=float(top.take("KEEP_DONE")),
        opentelemetry=top.take("OPENTELEMETRY"),
        metrics_token=top.take("METRICS_TOKEN"),
        streams=top.take("STREAMS"),
        mask=(_names(mask, "add"), _names(mask, "remove")),
    )
    for section in (prune, mask, top):
        section.refuse_others()
    return replace(result, problems=tuple(problems))


def _connections(top: Section) -> dict[str, ConnectionSettings]:
    where = f'{top.where}["CONNECTIONS"]'
    every = Section(top.data.get("CONNECTIONS", DEFAULT_CONNECTIONS), where, {}, top.problems)
    return {
        str(name): _connection(
            str(name), Section(data, f'{where}["{name}"]', CONNECTION, top.problems, str(name))
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
    taken = {key.lower(): section.take(key) for key in CONNECTION}
    options = {
        key: value
        for key, value in section.data.items()
        if isinstance(key, str) and key.isupper() and key not in CONNECTION
    }
    taken["retry_after"] = float(taken["retry_after"])
    return ConnectionSettings(name, **taken, options=options)


def _one_database(top: Section) -> tuple[str | None, str, ResultSettings | None]:
    """Return where failed jobs, batches and results are kept. They share transactions, so it is one
    database: where a section names none, it is that of the others.
    """
    named = {}
    for key in ("FAILED_JOBS", "BATCHES", "RESULTS"):
        if key == "BATCHES" or top.data.get(key, {}) is not None:
            section = top.section(key)
            section.refuse_others()
            named[key] = section.take("DATABASE")
    given = [alias for alias in named.values() if alias is not None]
    one: str = given[0] if given else "default"
    if len(set(given)) > 1:
        listed = ", ".join(f"{key} in {alias!r}" for key, alias in named.items() if alias)
        top.note(
            "djqueue.E027",
            f"{top.where} has several databases for what one transaction writes: {listed}.",
            "Name one database for FAILED_JOBS, BATCHES and RESULTS; a section without a DATABASE "
            "is in that of the others.",
        )
    keep_for = float(top.section("RESULTS").take("KEEP_FOR")) if "RESULTS" in named else 0.0
    results = ResultSettings(named["RESULTS"] or one, keep_for) if "RESULTS" in named else None
    failed_jobs = named["FAILED_JOBS"] or one if "FAILED_JOBS" in named else None
    return failed_jobs, named["BATCHES"] or one, results


def _payloads(top: Section) -> PayloadSettings | None:
    if top.data.get("PAYLOADS", {}) is None:
        return None
    section = top.section("PAYLOADS")
    section.refuse_others()
    return PayloadSettings(**{key.lower(): section.take(key) for key in section.options})


def _limits(top: Section) -> LimitSettings:
    section = top.section("LIMITS")
    limits = LimitSettings(section.take("DATABASE"), section.take("CACHE"))
    if limits.database is not None and limits.cache is not None:
        section.note(
            "djqueue.E023",
            f'{section.where} has both "DATABASE" and "CACHE".',
            "Remove one of them: the slots of limits are in a database, or in Redis.",
        )
    section.refuse_others()
    return limits


def _notify(top: Section) -> NotifySettings:
    section = top.section("NOTIFY_WHEN")
    section.refuse_others()
    wait, failures, pause = map(section.take, section.options)
    return NotifySettings(tuple(top.take("NOTIFY")), float(wait), failures, float(pause))


def _commands(top: Section) -> tuple[str, ...] | None:
    names = top.take("COMMANDS")
    return None if names is None else tuple(names)


def _mail(top: Section) -> MailSettings:
    section = top.section("MAIL")
    section.refuse_others()
    return MailSettings(*map(section.take, section.options))


def _routes(top: Section) -> dict[str, Route]:
    where = f'{top.where}["ROUTES"]'
    every = Section(top.data.get("ROUTES", {}), where, {}, top.problems)
    routes = {}
    for pattern, data in every.data.items():
        section = Section(data, f'{where}["{pattern}"]', ROUTE, top.problems)
        routes[str(pattern)] = Route(section.take("connection"), section.take("queue"))
        section.refuse_others()
    return routes


def _age(section: Section, key: str) -> float | None:
    value = section.take(key)
    return None if value is None else float(value)


def _names(section: Section, key: str) -> tuple[str, ...]:
    return tuple(name.casefold() for name in section.take(key))
