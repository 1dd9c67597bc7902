"""The settings that children get when they start. Plain values, so that it survives an exec."""

from __future__ import annotations

from typing import Any, NamedTuple

from djqueue.runner.rules import Rules
from djqueue.worker.options import WorkerOptions


class ChildSettings(NamedTuple):
    """What all children of a worker have in common."""

    connection: str
    worker: str
    queues: tuple[str, ...]
    rules: Rules
    memory: int
    """Bytes of a child after a job; 0 means no limit."""
    kill_grace: float = 5.0
    """Seconds from a soft timeout to the hard one."""
    grace: float = 30.0
    """Seconds that a job may go on after the worker was asked to stop."""

    @classmethod
    def of(cls, options: WorkerOptions, rules: Rules) -> ChildSettings:
        """Return the settings of the children of a worker with `options`."""
        return cls(
            options.connection,
            options.name,
            options.queues,
            rules,
            options.memory << 20,
            options.kill_grace,
            options.grace,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for an argument of a new process."""
        return {**self._asdict(), "rules": vars(self.rules)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ChildSettings:
        """Read what `to_dict` wrote, after JSON."""
        rules = Rules(**{**data["rules"], "backoff": tuple(data["rules"]["backoff"])})
        return cls(**{**data, "queues": tuple(data["queues"]), "rules": rules})


class Channels(NamedTuple):
    """A child's ends: file descriptors."""

    work: int
    tokens: int
    outcomes: int
    dump: int


class Assignment(NamedTuple):
    """The settings of one child."""

    settings: ChildSettings
    channels: Channels
    life: int
    """A descriptor that ends when the warden does."""
    warden: int
    """The warden's process id."""
