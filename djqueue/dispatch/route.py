"""Where a job goes, and how: computed once for a job class and its options, then looked up."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from djqueue.conf import Settings, settings
from djqueue.dispatch.connections import queues
from djqueue.dispatch.large import sizes_of
from djqueue.dispatch.outgoing import Plan
from djqueue.payload.payload import GIVEN, encode_head

if TYPE_CHECKING:
    from collections.abc import Mapping

    from djqueue.jobs.definition.options import Options
    from djqueue.jobs.definition.spec import JobSpec

__all__ = ["plan_of"]

_VARYING = ("delay", "tags")
"""What ``using()`` may set to another value at every dispatch; no plan depends on it."""
_MOST_PLANS = 4096


class _Plans:
    """A cache of plans by job and options. Changed settings empty it."""

    def __init__(self) -> None:
        self._made: tuple[Settings | None, dict[Any, Plan]] = (None, {})

    def of(self, spec: JobSpec, using: Mapping[str, Any]) -> Plan:
        """Return the plan for `spec` with the options given to ``using()``."""
        known = settings()
        made_for, made = self._made
        if made_for is not known or len(made) > _MOST_PLANS:
            # The pair is replaced as a whole: another thread sees the old one or the new one.
            made = {}
            self._made = (known, made)
        key: Any = spec
        if using:
            lasting = {name: value for name, value in using.items() if name not in _VARYING}
            key = (spec, frozenset(lasting.items()))
        plan = made.get(key)
        if plan is None:
            options = replace(spec.options, **lasting) if using else spec.options
            given = tuple(name for name in GIVEN if name in using)
            plan = made[key] = _make(spec, options, known, given)
        return plan


plan_of = _Plans().of


def _make(spec: JobSpec, options: Options, known: Settings, given: tuple[str, ...]) -> Plan:
    route = known.route(spec.name)
    connection = queues[options.connection or route.connection]
    capabilities = connection.driver.capabilities
    sizes = sizes_of(connection.settings, capabilities, known)
    return Plan(
        connection=connection.name,
        queue=connection.check(options.queue or route.queue),
        head=encode_head(spec.name, options.limits(), given),
        priority=options.priority,
        after_commit=bool(options.after_commit)
        if capabilities.inline and not capabilities.after_response
        else _after_commit(options.after_commit, connection.settings.after_commit, known),
        inline=capabilities.inline,
        max_delay=capabilities.max_delay,
        fits=sizes.fits,
        sizes=sizes,
        unique=options.unique,
        keeps_result=options.store_result and known.results is not None,
        encrypts=options.encrypted,
        debounces=options.debounce is not None and capabilities.keeps_jobs,
    )


def _after_commit(own: bool | None, connections: bool | None, known: Settings) -> bool:
    """Return the most specific value that is set."""
    if own is not None:
        return own
    return known.after_commit if connections is None else connections
