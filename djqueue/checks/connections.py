"""Checks of connections: the driver can be imported and knows all keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.conf import settings as django_settings
from django.core import checks

from djqueue.checks.setting import queue_name, unknown_connection
from djqueue.conf import ConnectionSettings, Settings, settings
from djqueue.conf.kinds import mistakes
from djqueue.conf.reader import CONNECTION, unknown_key
from djqueue.drivers import driver_class
from djqueue.errors import ConfigurationError, MissingPackage

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from djqueue.drivers.base import Driver


def check_connections(
    *, only: Collection[str] | None = None, **_: Any
) -> list[checks.CheckMessage]:
    """Check drivers, their packages and keys, queues, and members of failover connections. With
    `only`, check these connections and their members.
    """
    ours = settings()
    chosen = None if only is None else {*only}.union(*(reachable(each, ours) for each in only))
    found: list[checks.CheckMessage] = []
    for connection in ours.connections.values():
        # A missing driver is reported by the check of the setting.
        if connection.driver and (chosen is None or connection.name in chosen):
            found += _connection(connection, ours)
    return found


def _connection(connection: ConnectionSettings, ours: Settings) -> Iterator[checks.CheckMessage]:
    where = f'DJQUEUE["CONNECTIONS"]["{connection.name}"]'
    if connection.driver == "failover":
        yield from _members(where, connection, ours)
    try:
        driver = driver_class(connection)
    except MissingPackage as error:
        message, _, remedy = str(error).partition(" Run: ")
        yield checks.Error(message, hint=f"Run: {remedy}", id="djqueue.E006")
    except ConfigurationError as error:
        yield checks.Error(
            str(error),
            hint=f'Correct {where}["DRIVER"]: a short name, or the dotted path of a driver class.',
            id="djqueue.E005",
        )
    else:
        tagged = driver.capabilities.tagged_queues
        yield from queue_name(f'{where}["QUEUE"]', connection.queue, tagged=tagged)
        yield from _unknown_keys(where, connection, driver)
        yield from check_values(connection, driver)


def check_values(connection: ConnectionSettings, driver: type[Driver]) -> list[checks.CheckMessage]:
    """Check the values of a driver's own keys; only if each is of its kind, what they mean."""
    wrong: list[checks.CheckMessage] = [
        checks.Error(what, hint=remedy, id="djqueue.E003")
        for what, remedy in mistakes(connection.place, connection.options, driver.OPTIONS)
    ]
    return wrong or _own(connection.place, connection, driver)


def _own(
    where: str, connection: ConnectionSettings, driver: type[Driver]
) -> list[checks.CheckMessage]:
    """Return what the driver's check finds. If the check raises, the message leaves out its text,
    which may quote a URL with a password.
    """
    try:
        return driver.check(connection.with_defaults(driver.OPTIONS))
    except Exception as error:  # noqa: BLE001 - a driver may be the project's, or trip over a value
        return [
            checks.Error(
                f"{where} could not be checked by its driver: {type(error).__name__}.",
                hint="Check its values. In the password of a URL, write # / and @ as %23, %2F and "
                "%40.",
                id="djqueue.E003",
            )
        ]


def _unknown_keys(
    where: str, connection: ConnectionSettings, driver: type[Driver]
) -> Iterator[checks.CheckMessage]:
    known = [*CONNECTION, *driver.OPTIONS]
    for key in _raw(connection.name):
        if key not in known:
            problem = unknown_key(where, key, known, connection.name)
            yield checks.Error(problem.message, hint=problem.hint, id=problem.id)


def _raw(name: str) -> Mapping[Any, Any]:
    """Return the connection's dict as written in the setting, with lower-case keys too."""
    raw: Any = getattr(django_settings, "DJQUEUE", None)
    every = raw.get("CONNECTIONS") if isinstance(raw, Mapping) else None
    for key, value in every.items() if isinstance(every, Mapping) else ():
        if str(key) == name and isinstance(value, Mapping):
            return value
    return {}


def _members(
    where: str, connection: ConnectionSettings, ours: Settings
) -> Iterator[checks.CheckMessage]:
    members = connection.options.get("CONNECTIONS")
    if not isinstance(members, (list, tuple)) or not members:
        yield checks.Error(
            f'{where}["CONNECTIONS"] is {members!r}, not a list of connections.',
            hint='Name the connections to try, in order: "CONNECTIONS": ["redis", "database"].',
            id="djqueue.E008",
        )
        return
    known = ours.connections
    unknown = [each for each in members if not isinstance(each, str) or each not in known]
    for member in unknown:
        yield unknown_connection(f'A member of {where}["CONNECTIONS"]', member, ours)
    if connection.name in reachable(connection.name, ours):
        yield checks.Error(
            f'{where}["CONNECTIONS"] leads back to "{connection.name}" itself.',
            hint=f'Remove "{connection.name}" from the connections it fails over to.',
            id="djqueue.E008",
        )
    elif not unknown:
        yield from _unreachable(where, members, ours)


def _unreachable(
    where: str, members: Sequence[str], ours: Settings
) -> Iterator[checks.CheckMessage]:
    """Find members after one that takes every job."""
    for member in members[:-1]:
        try:
            capabilities = driver_class(ours.connections[member]).capabilities
        except ConfigurationError:
            continue  # reported for that connection
        if not capabilities.keeps_jobs:
            what = "runs" if capabilities.inline else "discards"
            yield checks.Error(
                f'{where}["CONNECTIONS"] has members after "{member}", which {what} every job: '
                "they would never get one.",
                hint=f'Put "{member}" last, or remove it.',
                id="djqueue.E008",
            )
            return


def reachable(name: str, ours: Settings) -> set[str]:
    """Return the connections that `name` may pass jobs on to, directly or through others."""
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        connection = ours.connections.get(waiting.pop())
        members = connection.options.get("CONNECTIONS") if connection else None
        for member in members if isinstance(members, (list, tuple)) else ():
            if isinstance(member, str) and member not in seen:
                seen.add(member)
                waiting.append(member)
    return seen
