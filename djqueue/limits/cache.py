"""Slots in Redis, through a django-redis cache: scripts, each of which is one step."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from djqueue.errors import ConfigurationError, MissingPackage, QueueUnavailable
from djqueue.limits.scripts import text_of
from djqueue.limits.values import HORIZON, Holder, Rate, Room

__all__ = ["CacheStore"]

MILLION = 1_000_000


class CacheStore:
    """Slots in the Redis of a cache, by its clock. Keys begin as those of the cache."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._scripts: dict[str, Any] = {}

    # -- throttles -----------------------------------------------------------------------------

    def take(self, rate: Rate) -> float | None:
        """Use the limit once. None, or the seconds until that may be possible."""
        wait = self._take(rate, use=True)
        return None if wait < 0 else wait

    def look(self, rate: Rate) -> float:
        """The seconds until it may be used, and 0 where it may be now; nothing is used."""
        return max(0.0, self._take(rate, use=False))

    def used(self, rate: Rate) -> bool:
        """Whether it was used within its period."""
        return self.look(rate._replace(allow=1)) > 0

    def _take(self, rate: Rate, *, use: bool) -> float:
        token = secrets.token_hex(8)
        given = [rate.allow, _micro(rate.every), token, int(use)]
        return self._seconds("take", [self._key(rate.name, "uses")], given)

    # -- funnels -------------------------------------------------------------------------------

    def enter(self, room: Room, holder: Holder) -> float | None:
        """Hold a slot. None, or the seconds for which one is held on average."""
        job = holder.job or ""
        if holder.job:  # first: what is held must be found when its process is gone
            self._note(room.name, holder)
        given = [room.limit, _member(holder), _micro(holder.life), job, holder.prefix]
        wait = self._seconds("enter", self._funnel(room.name), given)
        if wait < 0:
            return None
        self._forget(room.name, holder)
        return wait

    def leave(self, room: Room, holder: Holder) -> None:
        """Give it back, unless another holder has it by now."""
        self._run("leave", self._funnel(room.name), [_member(holder)])
        self._forget(room.name, holder)

    def leave_for(self, jobs: Iterable[tuple[str, int]], since: float = 0.0) -> None:
        """Give back what runs of jobs hold whose processes are gone, as `Store.leave_for`."""
        for job, run in jobs:
            with self._reported() as client:
                names = client.hkeys(self._held_by(job))
            for name in names:
                given = [job, run, _micro(since)]
                self._run("leave", self._funnel(name.decode()), given)

    def _held_by(self, job: str) -> str:
        """The key of a hash: the funnels in which a job holds slots, and how many."""
        return self._key(f"job:{job}", "funnels")

    def _note(self, name: str, holder: Holder) -> None:
        key = self._held_by(holder.job or "")
        with self._reported() as client:
            pipeline = client.pipeline(transaction=False)
            pipeline.hincrby(key, name, 1)
            pipeline.pexpire(key, int(holder.life * 1000) + 1000)
            pipeline.execute()

    def _forget(self, name: str, holder: Holder) -> None:
        if holder.job:
            key = self._held_by(holder.job)
            with self._reported() as client:
                if client.hincrby(key, name, -1) <= 0:
                    client.hdel(key, name)

    # -- both ----------------------------------------------------------------------------------

    def place(self, name: str, first: float, step: float) -> float | None:
        """Book the next free time for a job that was refused, as `Store.place`."""
        given = [_micro(first), _micro(step), _micro(HORIZON)]
        place = self._seconds("place", [self._key(name, "booked")], given)
        return None if place < 0 else place

    def clear(self, name: str) -> None:
        """Forget that it was ever used or held."""
        keys = [self._key(name, "uses"), self._key(name, "booked"), *self._funnel(name)]
        with self._reported() as client:
            client.delete(*keys)

    # -- parts ---------------------------------------------------------------------------------

    def _funnel(self, name: str) -> list[str]:
        return [self._key(name, part) for part in ("holders", "entered", "lasted")]

    def _key(self, name: str, part: str) -> str:
        """With a hash tag, so that all keys of a limit are on one server."""
        from django.core.cache import caches

        return str(caches[self._alias].make_key(f"djqueue:{{{name}}}:{part}"))

    def _seconds(self, script: str, keys: Sequence[str], given: Sequence[Any]) -> float:
        answer = int(self._run(script, keys, given))
        return -1.0 if answer == -1 else max(0.0, answer / MILLION)

    def _run(self, script: str, keys: Sequence[str], given: Sequence[Any]) -> Any:
        with self._reported() as client:
            known = self._scripts.get(script)
            if known is None:
                known = self._scripts[script] = client.register_script(text_of(script))
            return known(keys=keys, args=given, client=client)

    @contextmanager
    def _reported(self) -> Iterator[Any]:
        """The client of the cache; its errors are `QueueUnavailable`."""
        try:
            from django_redis import get_redis_connection
            from redis.exceptions import RedisError
        except ImportError as error:
            raise MissingPackage(
                f'DJQUEUE["LIMITS"] uses the cache "{self._alias}", which needs django-redis. '
                'Run: pip install "djqueue[redis]".'
            ) from error
        try:
            client = get_redis_connection(self._alias)
        except NotImplementedError as error:
            raise ConfigurationError(
                f'DJQUEUE["LIMITS"]["CACHE"] is "{self._alias}", which is no django-redis cache.'
            ) from error
        try:
            yield client
        except RedisError as error:
            raise QueueUnavailable(
                f'The limits in the cache "{self._alias}" could not be asked: {error}'
            ) from error


def _micro(seconds: float) -> int:
    return round(seconds * MILLION)


def _member(holder: Holder) -> str:
    return f"{holder.job or ''}/{holder.run}/{holder.token}"
