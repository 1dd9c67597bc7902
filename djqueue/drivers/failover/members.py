"""Which connections a failover connection passes jobs on to, and what they can do together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from djqueue.conf import Settings, settings
from djqueue.drivers import driver_class, make_driver
from djqueue.drivers.base import Capabilities, Feature
from djqueue.errors import ConfigurationError
from djqueue.text import shell

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from djqueue.conf import ConnectionSettings
    from djqueue.drivers.base import Driver

__all__ = ["combined_capabilities", "make_members", "worker_hint"]


def make_members(connection: ConnectionSettings) -> list[Driver]:
    """Return the drivers of the members in order; those of a failover among them stand in its
    place. Raises `ConfigurationError` if there are none, or if one leads back to a failover that it
    is part of.
    """
    members = {each.name: each for each in _members(connection, settings(), ())}
    return [make_driver(each) for each in members.values()]


def _members(
    connection: ConnectionSettings, known: Settings, above: tuple[str, ...]
) -> Iterator[ConnectionSettings]:
    where = f'DJQUEUE["CONNECTIONS"]["{connection.name}"]["CONNECTIONS"]'
    names = connection.options.get("CONNECTIONS")
    if not isinstance(names, (list, tuple)) or not names:
        raise ConfigurationError(
            f"{where} is {names!r}, not a list of connections. Name those to try, in order: "
            '["redis", "database"].'
        )
    path = (*above, connection.name)
    for name in names:
        if name in path:
            raise ConfigurationError(f'{where} leads back to "{name}". Remove one of the two.')
        member = known.connection(name)
        if driver_class(member).passes_on:
            yield from _members(member, known, path)
        else:
            yield member


def combined_capabilities(members: Sequence[Driver], workers: str) -> Capabilities:
    """Return what all of them can do; the reason of the first that cannot."""
    cannot: dict[Feature, str] = {
        feature: f"{member.settings.name}: {reason}"
        for member in reversed(members)
        for feature, reason in member.capabilities.cannot.items()
    }
    every = [member.capabilities for member in members]
    delays = [can.max_delay for can in every if can.max_delay is not None]
    waits = [can.max_wait for can in every if can.max_wait is not None]
    sizes = [can.max_payload for can in every if can.max_payload is not None]
    return Capabilities(
        {
            **cannot,
            "ordered": "Its jobs may be on several connections, each with an order of its own.",
            "idempotent_push": "What one of its members holds may be pushed to another.",
            "workers": workers,
        },
        max_delay=min(delays, default=None),
        max_wait=max(waits, default=None),
        max_payload=min(sizes, default=None),
        tagged_queues=bool(every) and all(can.tagged_queues for can in every),
    )


def worker_hint(connection: ConnectionSettings, members: Sequence[Driver]) -> str:
    """Return why no worker runs for a failover connection, and for which connections to start
    one.
    """

    def command(member: ConnectionSettings) -> str:
        own = member.queue == connection.queue
        queue = () if own else ("--queue", connection.queue)
        return shell.words("queue_work", member.name, *queue)

    names = " or ".join(member.settings.name for member in members)
    commands = " and ".join(f"`{command(member.settings)}`" for member in members)
    return (
        f'Connection "{connection.name}" keeps no jobs itself: it passes them on to {names}. '
        f"Run workers for each of them: {commands}."
    )
