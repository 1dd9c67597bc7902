"""Reserving and settling: the hot path of a worker."""

from __future__ import annotations

import logging
import secrets
import time
from dataclasses import dataclass, field
from itertools import repeat
from typing import TYPE_CHECKING, Any

from djqueue.drivers.base import REMOVE, Reservation, Settlement
from djqueue.drivers.redis import codec, scripts
from djqueue.drivers.redis.codec import are_members, handle_of, id_of, key_of, settle_arguments
from djqueue.drivers.redis.keys import ORDER, decode_body
from djqueue.drivers.redis.servers.calls import BYTES, MOST
from djqueue.drivers.redis.servers.store import QueueDamaged
from djqueue.drivers.slices import slices
from djqueue.errors import QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from djqueue.drivers.redis.servers.calls import Calls

logger = logging.getLogger("djqueue.worker")


@dataclass
class Holding:
    """Who reserves, and for how long."""

    lease: int
    """In milliseconds."""
    queues: tuple[str, ...]
    worker: bytes = b""
    session: str = field(default_factory=lambda: secrets.token_hex(4))
    """Tells the reservations of one stay of a worker from all others."""
    asked: set[str] = field(default_factory=set)
    """Queues that may have given us reservations."""
    since: float = field(default_factory=time.monotonic)
    answered_at: dict[str, float] = field(default_factory=dict)
    """When a queue has answered last: what is held of it was ours then."""


class Reserving:
    """What a worker does with the jobs of its queues."""

    def __init__(self, calls: Calls, holding: Holding) -> None:
        self._calls = calls
        self.holding = holding
        self._damaged: set[str] = set()
        """Queues that were left out, and that was said."""

    def exchange(
        self, settlements: Sequence[Settlement], queues: Sequence[str], limit: int
    ) -> tuple[set[str], list[Reservation]]:
        """Return the ids that were lost, and what was reserved."""
        lost: set[str] = set()
        removals: dict[str, list[Any]] = {}
        returns: dict[str, list[Settlement]] = {}
        for settlement in settlements:
            reservation = settlement.reservation
            if settlement.verdict is REMOVE:
                removals.setdefault(reservation.queue, []).extend(key_of(reservation))
            else:
                returns.setdefault(reservation.queue, []).append(settlement)
        for queue, some in returns.items():
            self._put_back(queue, some, lost)
        for queue in [each for each in removals if each not in queues]:
            tokens = removals.pop(queue)
            try:
                self._exchange(queue, tokens, 0, lost)
            except QueueUnavailable as error:
                self._give_up(queue, error, _ids(tokens), lost)
        return lost, self._take(queues, limit, removals, lost)

    def _take(
        self, queues: Sequence[str], limit: int, removals: dict[str, list[Any]], lost: set[str]
    ) -> list[Reservation]:
        """Reserve from `queues` in order; ends of jobs in the same queue go along.

        An error of one queue, or of its node of a cluster, does not affect the others; but ends
        have to be stored, so then it is raised.
        """
        self.holding.asked.update(queues)
        found: list[Reservation] = []
        errors: dict[str, QueueUnavailable] = {}
        has_answered = is_cut = False
        for queue in queues:
            tokens = removals.pop(queue, ())
            wanted = 0 if is_cut else limit - len(found)
            if wanted <= 0 and not tokens:
                continue
            try:
                some, is_cut_now = self._exchange(queue, tokens, wanted, lost)
            except QueueUnavailable as error:
                if tokens:
                    self._give_up(queue, error, _ids(tokens), lost)
                elif not (isinstance(error, QueueDamaged) or self._calls.store.is_cluster):
                    raise
                errors[queue] = error
            else:
                has_answered = True
                is_cut = is_cut or is_cut_now
                found += some
                self._damaged.discard(queue)
        for queue, reason in errors.items():
            if not (has_answered or lost):
                raise reason
            self._note_damage(queue, reason)
        return found

    def _note_damage(self, queue: str, error: QueueUnavailable) -> None:
        """Log once what is wrong with a queue."""
        if queue not in self._damaged:
            self._damaged.add(queue)
            logger.warning("Queue %s is left out: %s", queue, error)

    def _give_up(
        self, queue: str, error: QueueUnavailable, ids: Iterable[str], lost: set[str]
    ) -> None:
        """Give up what was reserved from a damaged queue, or from a node of a cluster that has been
        away for longer than a lease. Until then `error` is raised.
        """
        if not isinstance(error, QueueDamaged):
            answered_at = self.holding.answered_at.get(queue, self.holding.since)
            is_over = time.monotonic() - answered_at > self.holding.lease / 1000
            if not (self._calls.store.is_cluster and is_over):
                raise error
        lost.update(ids)
        self._note_damage(queue, error)

    def _exchange(
        self, queue: str, tokens: Sequence[Any], limit: int, lost: set[str]
    ) -> tuple[list[Reservation], bool]:
        """Settle and reserve in one queue. Return whether more bytes than one call takes were in
        line.
        """
        while len(tokens) > 2 * MOST:
            self._exchange(queue, tokens[: 2 * MOST], 0, lost)
            tokens = tokens[2 * MOST :]
        held = self.holding
        limit = min(max(limit, 0), MOST)
        arguments = (limit, held.lease, held.session, held.worker, BYTES, *tokens)
        answer = self._calls.run(scripts.EXCHANGE, queue, arguments)
        fence, members, bodies, states, gone, is_cut = answer
        held.answered_at[queue] = time.monotonic()
        lost.update(map(id_of, gone))
        token = f"{fence.decode()}:{held.session}:"
        found = []
        usual = are_members(members)
        handle, attempts, interruptions, history = token, 0, 0, ""
        for member, body, state in zip(members, bodies, states or repeat(None), strict=False):
            if body is None:
                continue
            name, payload = decode_body(body)
            if states:
                attempts, interruptions, history = codec.decode_state(state)
            if usual:
                id = member[ORDER:].decode()
            else:
                id, handle = id_of(member[ORDER:]), handle_of(token, member[ORDER:])
            found.append(
                Reservation(id, queue, name, payload, attempts + 1, interruptions, history, handle)
            )
        return found, bool(is_cut)

    def _put_back(self, queue: str, settlements: Sequence[Settlement], lost: set[str]) -> None:
        for some in slices(settlements, MOST // 2):
            try:
                gone = self._calls.run(scripts.SETTLE, queue, settle_arguments(some))
            except QueueUnavailable as error:
                self._give_up(queue, error, {each.reservation.id for each in some}, lost)
            else:
                self.holding.answered_at[queue] = time.monotonic()
                lost.update(map(id_of, gone))

    def extend(self, reservations: Sequence[Reservation]) -> set[str]:
        """Give them a new deadline. Return the ids that are lost."""
        by_queue: dict[str, list[Any]] = {}
        for reservation in reservations:
            by_queue.setdefault(reservation.queue, []).extend(key_of(reservation))
        lost: set[str] = set()
        for queue, tokens in by_queue.items():
            for some in slices(tokens, 2 * MOST):
                try:
                    arguments = (self.holding.lease, *some)
                    gone = self._calls.run(scripts.EXTEND, queue, arguments, again=True)
                except QueueUnavailable as error:
                    self._give_up(queue, error, _ids(some), lost)
                else:
                    self.holding.answered_at[queue] = time.monotonic()
                    lost.update(map(id_of, gone))
        return lost


def _ids(tokens: Sequence[Any]) -> list[str]:
    """Return the ids of reservations, from the keys that the scripts are given."""
    return [id if isinstance(id, str) else id_of(id) for id in tokens[::2]]
