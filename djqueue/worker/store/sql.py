"""SQL of the parent that is not its driver's: controls, presence, the outbox, failed jobs.

Whatever the database does, a call ends soon, and a database that was away is left alone for a
while: the jobs may be in another store, which answers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeVar

from djqueue.conf import settings
from djqueue.databases.connection import bounded
from djqueue.drivers import clock
from djqueue.errors import QueueUnavailable

if TYPE_CHECKING:
    from djqueue.drivers.base import Driver

logger = logging.getLogger("djqueue.worker")

T = TypeVar("T")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0


class ParentSql:
    """All calls of one worker."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._pause = 0.0
        self.open_at = 0.0
        """Before this nothing is asked: the last call got no answer."""

    def ask(self, alias: str, question: Callable[[], T]) -> T:
        """Return the answer. Raises `QueueUnavailable` if the database gives none or is left alone;
        what it refuses for its content is raised as Django's error.
        """
        return self._ask((alias,), question)

    def ask_every(self, question: Callable[[], T]) -> T:
        """Do as `ask` for every database in which djqueue keeps something."""
        return self._ask(settings().databases, question)

    def _ask(self, aliases: Sequence[str], question: Callable[[], T]) -> T:
        if clock.now() < self.open_at:
            raise QueueUnavailable(f'Database "{aliases[0]}" gave no answer a moment ago.')
        try:
            with ExitStack() as stack:
                for alias in aliases:
                    stack.enter_context(bounded(alias, self._driver.patience))
                answer = question()
        except QueueUnavailable as error:
            self._away(error)
            raise
        if self._pause:
            self._pause = 0.0
            logger.info('Database "%s" answers again.', aliases[0])
        return answer

    def _away(self, error: QueueUnavailable) -> None:
        if not self._pause:
            logger.warning("%s Trying again until it answers.", error)
        self._pause = min(max(self._pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
        self.open_at = clock.now() + self._pause
