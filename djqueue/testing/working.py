"""`work`: run what waits, in the process of the test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import connections

from djqueue.dispatch.connections import QueueConnection, queues
from djqueue.runner.decision import Action
from djqueue.worker.inline import InlineWorker
from djqueue.worker.options import WorkerOptions
from djqueue.worker.report.report import Report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from djqueue.runner.attempt import Attempt
    from djqueue.runner.outcome import Outcome

__all__ = ["work"]


def work(
    connection: str | None = None,
    queue: str | None = None,
    max_jobs: int | None = None,
    delayed: bool = False,
    raise_errors: bool = False,
) -> int:
    """Run what waits, in this process as a worker would. Return the number of attempts.

    All queues of the connection (the default one) or those of `queue`, best first and separated
    by commas; also what the jobs themselves dispatch. With `delayed`, jobs that would run later
    run now too, among them those that wait for their next try; it ends when only such jobs are left
    that a limit or a middleware holds back. With `raise_errors` the first error of a job is raised
    here, once its outcome is stored.

    It works on the test's own database connections and leaves them as they are, so it works
    inside a `TestCase`. There, as everywhere in one, ``on_commit()`` callbacks do not run.
    """
    asked = queues[connection]
    capabilities = asked.driver.capabilities
    done = 0
    if asked.driver.members:
        return _work_on_each(asked.driver.members, queue, max_jobs, delayed, raise_errors)
    if not capabilities.keeps_jobs:
        return done
    held_back: set[str] = set()
    while max_jobs is None or done < max_jobs:
        names = _names(asked, queue)
        if delayed:
            for name in names:
                asked.inspector.make_due(name)
        worker = _WorkerInTest(asked, names)
        if not worker.step():
            break
        done += 1
        if worker.held_back is None:
            held_back.clear()
            if raise_errors and worker.error is not None:
                raise worker.error
        elif worker.held_back in held_back:
            break
        else:
            held_back.add(worker.held_back)
    return done


def _work_on_each(
    members: Sequence[str],
    queue: str | None,
    max_jobs: int | None,
    delayed: bool,
    raise_errors: bool,
) -> int:
    """Until all are empty: a job may dispatch to a member that was empty before."""
    done = 0
    while max_jobs is None or done < max_jobs:
        before = done
        for member in members:
            left = None if max_jobs is None else max_jobs - done
            done += work(member, queue, left, delayed, raise_errors)
        if done == before:
            break
    return done


def _names(asked: QueueConnection, queue: str | None) -> tuple[str, ...]:
    if queue is None:
        return tuple(asked.inspector.queues())
    return tuple(asked.check(name.strip()) for name in queue.split(","))


class _WorkerInTest(InlineWorker):
    def __init__(self, asked: QueueConnection, names: tuple[str, ...]) -> None:
        options = WorkerOptions(asked.name, names, stop_when_empty=True)
        super().__init__(options, asked.driver, Report())
        # No deploy will bring a job that is unknown here.
        self._runner.rules = options.rules(unknown_grace=0)
        self.held_back: str | None = None
        """The id of the job that ran last, if that was no attempt and it will come again."""

    def attempt(self, attempt: Attempt) -> Outcome:
        """Nothing is closed or rolled back behind the job: the transaction is the test's."""
        savepoints = [
            _Savepoint(each)
            for each in connections.all(initialized_only=True)
            if each.in_atomic_block and not each.needs_rollback
        ]
        outcome = self._runner.run(attempt)
        for savepoint in savepoints:
            savepoint.end()
        if outcome.decision.action is Action.RETRY and not outcome.charged:
            self.held_back = attempt.job.id
        return outcome


@dataclass
class _Savepoint:
    """What a job that breaks the test's transaction is taken back to.

    On a worker only the job's own transaction would break. A job that merely raises keeps what it
    wrote before, as it does there.
    """

    database: Any

    def __post_init__(self) -> None:
        self._id = self.database.savepoint()

    def end(self) -> None:
        """Keep what the job wrote, if the database lets us."""
        if not self.database.in_atomic_block:
            return
        if self.database.needs_rollback or not self.database.is_usable():
            self.database.needs_rollback = False
            self.database.savepoint_rollback(self._id)
        else:
            self.database.savepoint_commit(self._id)
