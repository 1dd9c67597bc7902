"""Connections that are closed, and workers that race."""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from djqueue.drivers.base import Settlement, Verdict
from djqueue.testing.contract.setup import ContractSetup

if TYPE_CHECKING:
    from collections.abc import Callable

    from djqueue.drivers.base import OutgoingJob

_LOOK = 0.02
"""Seconds between two looks at an empty queue."""


class Processes(ContractSetup):
    """One driver over its life, and several at once."""

    def test_a_closed_driver_opens_again(self) -> None:
        self.push()
        self.pusher.close()
        self.pusher.close()
        self.push()
        assert len(self.reserve(2)) == 2

    def test_a_worker_that_leaves_may_close(self) -> None:
        self.push()
        self.settle(self.reserve()[0])
        self.session.leave()
        self.driver.close()
        self.push()
        assert len(self.reserve(session=self.other)) == 1

    def test_a_session_without_a_worker_may_reserve_and_settle(self) -> None:
        ids, session = self.push(2), self.pusher.session()
        held = self.reserve(2, session)
        assert set(self.ids(held)) == set(ids)
        assert session.extend(held) == set()
        assert session.settle([Settlement(r) for r in held]) == set()
        assert self.nothing_is_left(session)

    # -- races ----------------------------------------------------------------------------------

    def test_workers_at_once_never_share_a_job(self) -> None:
        jobs = [self.job() for _ in range(self.crowd)]
        seen = self._race(jobs, [Verdict.REMOVE])
        assert sorted(seen) == sorted(job.id for job in jobs)

    def test_workers_at_once_that_hand_back_lose_nothing(self) -> None:
        self.needs("fenced")
        jobs = [self.job() for _ in range(self.crowd // 4)]
        seen = self._race(jobs, [Verdict.RETURN, Verdict.RELEASE, Verdict.REMOVE])
        assert sorted(seen) == sorted(job.id for job in jobs)

    def _race(self, jobs: list[OutgoingJob], verdicts: list[Verdict]) -> list[str]:
        """Three workers take the jobs of one queue while they are pushed; ids that were removed."""
        self.inspector.counts(self.queue)  # what is made once in a store is made before
        removed: list[str] = []
        pushed = threading.Event()

        def looks() -> float:
            """How often to look in vain: for a job that came twice, or one that has yet to come."""
            if not pushed.is_set():
                return math.inf
            return 5 if len(removed) >= len(jobs) else self.patience / _LOOK

        with ThreadPoolExecutor(3) as pool:
            racers = [pool.submit(self._run, n, verdicts, removed, looks) for n in range(3)]
            try:
                for start in range(0, len(jobs), 20):
                    self.pusher.push(jobs[start : start + 20])
            finally:
                pushed.set()
        for racer in racers:
            racer.result()
        return removed

    def _run(
        self, number: int, verdicts: list[Verdict], removed: list[str], looks: Callable[[], float]
    ) -> None:
        """One of them, until nothing comes any more. Each job gets the verdict whose turn it is."""
        driver = self.open()
        session = self.join(driver, f"racer-{number}")
        settlements: list[Settlement] = []
        turn, vain = number, 0
        while settlements or vain < looks():
            lost, held = session.exchange(settlements, [self.queue], 7)
            assert lost == set()
            settlements = []
            for reservation in held:
                turn += 1
                verdict = verdicts[turn % len(verdicts)]
                settlements.append(Settlement(reservation, verdict))
                if verdict is Verdict.REMOVE:
                    removed.append(reservation.id)
            vain = 0 if held else vain + 1
            self.wait(0 if held else _LOOK)
        driver.close()
