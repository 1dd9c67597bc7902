"""A store that takes as much of a push as a test wants, and says what it has taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from djqueue.drivers.base import OutgoingJob, WorkerIdentity
from djqueue.drivers.database import DatabaseDriver
from djqueue.drivers.database.session import DatabaseSession
from djqueue.errors import QueueUnavailable


class _Apart(DatabaseSession):
    def joins(self, alias: str) -> bool:
        return False


class HalfDriver(DatabaseDriver):
    """Keeps its jobs in a table, and is told apart from the database of the transaction."""

    takes: ClassVar[int | None] = None
    """Jobs of the next push that are stored before it breaks off; None: all of every push."""
    ambiguous: ClassVar[bool] = False
    poison: ClassVar[dict[str, Exception | str]] = {}
    """By queue: what is raised by a push with such a job in it, or why the job is refused."""
    pushes: ClassVar[list[list[OutgoingJob]]] = []
    patiences: ClassVar[list[float | None]] = []

    @classmethod
    def heal(cls) -> None:
        """As a store should be."""
        cls.takes, cls.ambiguous = None, False
        cls.poison, cls.pushes, cls.patiences = {}, [], []

    def shares_transaction_with(self, alias: str) -> bool:
        return False

    def session(self, worker: WorkerIdentity | None = None) -> DatabaseSession:
        return _Apart(self._calls, self.settings, worker)

    def push(self, jobs: Sequence[OutgoingJob]) -> None:
        cls = type(self)
        cls.pushes.append(list(jobs))
        cls.patiences.append(self.patience)
        refused: dict[str, str] = {}
        for job in jobs:
            wrong = cls.poison.get(job.queue)
            if isinstance(wrong, Exception):
                raise wrong
            if wrong is not None:
                refused[job.id] = wrong
        good = [job for job in jobs if job.id not in refused]
        taken = good if cls.takes is None else good[: cls.takes]
        super().push(taken)
        if cls.takes is not None:
            cls.takes = max(0, cls.takes - len(taken))
        if len(taken) < len(jobs):
            raise QueueUnavailable(
                f"The store took {len(taken)} of {len(jobs)} jobs.",
                ambiguous=cls.ambiguous,
                stored=[job.id for job in taken],
                refused=refused,
            )
