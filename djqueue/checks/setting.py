"""Checks of the ``DJQUEUE`` setting: it is well-formed, and the names in it exist."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from django.conf import settings as django_settings
from django.core import checks
from django.db import connections

from djqueue.conf import NO_ROUTE, Settings, did_you_mean, settings
from djqueue.errors import MissingPackage, QueueError
from djqueue.jobs import closures, registry
from djqueue.payload.keyring import keyring
from djqueue.payload.queue_names import check_queue_name
from djqueue.tracing.tracing import MISSING, tracing

if TYPE_CHECKING:
    from collections.abc import Iterator


def check_setting(**_: Any) -> list[checks.CheckMessage]:
    """Check keys, types, and names of connections, databases, jobs and queues."""
    ours = settings()
    found: list[checks.CheckMessage] = [
        checks.Error(problem.message, hint=problem.hint, id=problem.id) for problem in ours.problems
    ]
    found += _default(ours)
    found += _aliases(ours)
    found += _payloads(ours)
    found += _encryption(ours)
    found += _closures(ours)
    found += _spans(ours)
    found += _routes(ours)
    return found


def _default(ours: Settings) -> Iterator[checks.CheckMessage]:
    if ours.default not in ours.connections:
        yield unknown_connection('DJQUEUE["DEFAULT"]', ours.default, ours)


def _aliases(ours: Settings) -> Iterator[checks.CheckMessage]:
    places = [
        (f'DJQUEUE["CONNECTIONS"]["{connection.name}"]["DATABASE"]', connection.database)
        for connection in ours.connections.values()
        if connection.jobs_in_sql or "DATABASE" in connection.options
    ]
    places += [(f'DJQUEUE["{key}"]["DATABASE"]', ours.shared_database) for key in _naming_shared()]
    if ours.limits.database is not None:
        places.append(('DJQUEUE["LIMITS"]["DATABASE"]', ours.limits.database))
    if ours.payloads is not None and ours.payloads.database is not None:
        places.append(('DJQUEUE["PAYLOADS"]["DATABASE"]', ours.payloads.database))
    known = list(connections.settings)
    for where, alias in places:
        if alias not in known:
            yield checks.Error(
                f'{where} is "{alias}", which is not an alias in DATABASES.',
                hint=(
                    f"{did_you_mean(alias, known)} Name one of: {', '.join(known)}; or add "
                    f'"{alias}" to DATABASES.'
                ).lstrip(),
                id="djqueue.E007",
            )


def _naming_shared() -> Iterator[str]:
    """Return the sections that name the database of failed jobs, batches and results."""
    raw = getattr(django_settings, "DJQUEUE", None)
    for key in ("FAILED_JOBS", "BATCHES", "RESULTS"):
        section = raw.get(key) if isinstance(raw, dict) else None
        if isinstance(section, dict) and isinstance(section.get("DATABASE"), str):
            yield key


def _payloads(ours: Settings) -> Iterator[checks.CheckMessage]:
    where = 'DJQUEUE["PAYLOADS"]'
    if ours.payloads is None:
        for connection in ours.connections.values():
            if connection.store_above:
                yield checks.Error(
                    f'DJQUEUE["CONNECTIONS"]["{connection.name}"] has "STORE_ABOVE", and {where} is'
                    " None: there is no payload store for large arguments.",
                    hint=f'Remove "STORE_ABOVE", or set {where} to a dict, such as {{}}.',
                    id="djqueue.E019",
                )
    elif (storage := ours.payloads.storage) is not None:
        known = list(django_settings.STORAGES)
        if storage not in known:
            yield checks.Error(
                f'{where}["STORAGE"] is "{storage}", which is not an alias in STORAGES.',
                hint=f"{did_you_mean(storage, known)} Name one of: {', '.join(known)}; or add "
                f'"{storage}" to STORAGES.'.lstrip(),
                id="djqueue.E018",
            )
        elif storage in ("default", "staticfiles"):
            yield checks.Warning(
                f'{where}["STORAGE"] is "{storage}", whose files are usually public: anyone who '
                "knows a job's id could read its arguments.",
                hint="Add a private storage to STORAGES, for this purpose only, and name it.",
                id="djqueue.W017",
            )


def _encryption(ours: Settings) -> Iterator[checks.CheckMessage]:
    try:
        if ours.encryption_keys:
            keyring()
    except MissingPackage as error:
        yield checks.Error(
            'DJQUEUE["ENCRYPTION_KEYS"] has keys, and the package cryptography is not installed.',
            hint=str(error),
            id="djqueue.E006",
        )


def _closures(ours: Settings) -> Iterator[checks.CheckMessage]:
    if ours.closure_keys and find_spec("cloudpickle") is None:
        yield checks.Error(
            'DJQUEUE["CLOSURE_KEYS"] has keys, and the package cloudpickle is not installed.',
            hint=closures.MISSING,
            id="djqueue.E006",
        )
    if django_settings.SECRET_KEY in ours.closure_keys:
        yield checks.Error(
            'DJQUEUE["CLOSURE_KEYS"] has the SECRET_KEY, which more people and programs '
            "know: each of them could run any code in workers.",
            hint="Make a key for this purpose alone, with secrets.token_urlsafe(32).",
            id="djqueue.E040",
        )


def _spans(ours: Settings) -> Iterator[checks.CheckMessage]:
    if ours.opentelemetry is not None and tracing.tracer is None:
        yield checks.Error(
            'DJQUEUE["OPENTELEMETRY"] is set, and the package opentelemetry-api is not installed.',
            hint=MISSING,
            id="djqueue.E006",
        )


def _routes(ours: Settings) -> Iterator[checks.CheckMessage]:
    names = [spec.name for spec in registry.all()]
    for pattern, route in ours.routes.items():
        where = f'DJQUEUE["ROUTES"]["{pattern}"]'
        if route.connection is not None and route.connection not in ours.connections:
            yield unknown_connection(f'{where}["connection"]', route.connection, ours)
        elif route.queue is not None and (
            wrong := list(queue_name(f'{where}["queue"]', route.queue, tagged=True))
        ):
            yield from wrong
        elif route != NO_ROUTE and pattern not in names and not set(pattern) & set("*?["):
            yield checks.Warning(
                f"{where} is for a job that does not exist.",
                hint=f"{did_you_mean(pattern, names)} Correct the name, or remove the route. A "
                "pattern contains a *.".lstrip(),
                id="djqueue.W018",
            )


def unknown_connection(where: str, name: object, ours: Settings) -> checks.CheckMessage:
    """Return the error for a name that is not in ``CONNECTIONS``."""
    known = ours.connections
    return checks.Error(
        f'{where} is "{name}", which is not in DJQUEUE["CONNECTIONS"].',
        hint=f"{did_you_mean(name, known)} Defined: {', '.join(known) or 'nothing'}.".lstrip(),
        id="djqueue.E004",
    )


def queue_name(where: str, name: str, *, tagged: bool) -> Iterator[checks.CheckMessage]:
    """Check that `name` is a valid name of a queue."""
    try:
        check_queue_name(name, tagged=tagged)
    except QueueError:
        yield checks.Error(
            f'{where} is "{name}", which is not a queue name.',
            hint="Use letters, digits and _ . - only, at most 80; on redis also one {tag}.",
            id="djqueue.E013",
        )
