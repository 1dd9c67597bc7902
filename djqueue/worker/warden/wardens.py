"""The parent keeps one warden alive, and ends what one that was killed leaves behind."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from typing import TYPE_CHECKING

from django.db import connections

from djqueue.drivers import clock
from djqueue.worker.children.page import StatusPage
from djqueue.worker.children.settings import ChildSettings
from djqueue.worker.interrupts import Interrupts
from djqueue.worker.warden import orphans
from djqueue.worker.warden.link import Link
from djqueue.worker.warden.spawn import allow_descriptors, by_exec

if TYPE_CHECKING:
    from djqueue.drivers.base import Driver

logger = logging.getLogger("djqueue.worker")

_TO_END = 2.0
"""Seconds in which what a warden left behind is ended."""
_DESCRIPTORS = 8
"""Descriptors that a child takes in the parent, with some to spare."""


class Wardens:
    """One warden at a time, for the children on `page`."""

    def __init__(
        self,
        settings: ChildSettings,
        page: StatusPage,
        driver: Driver,
        interrupts: Interrupts | None,
    ) -> None:
        """`interrupts`: the pipe by which a warden learns of the signals of this process."""
        self.link: Link | None = None
        self._settings = settings
        self._page = page
        self._driver = driver
        self._interrupts = interrupts
        self._is_first = True
        self._ours: list[int] = []
        """Children of this process that no warden started."""

    def start(self) -> Link:
        """Start a warden. The first is forked, so what must not be in two processes is closed
        before.
        """
        if self._is_first:
            allow_descriptors(64 + self._page.size * _DESCRIPTORS)
            self._close_stores()
            self._ours = orphans.children()
        self.link = Link(
            self._settings,
            self._page,
            self._interrupts,
            forks=not by_exec(),
            first=self._is_first,
        )
        self._is_first = False
        return self.link

    def _close_stores(self) -> None:
        """Close the stores: a connection, or a thread of its pool, would be in two processes."""
        self._driver.close()
        for connection in connections.all(initialized_only=True):
            connection.close()
            if getattr(connection, "pool", None) is not None:
                connection.close_pool()  # type: ignore[attr-defined]

    def lose(self) -> None:
        """Make sure that the children of a warden that was killed have ended; the kernel kills them
        with it.
        """
        link, self.link = self.link, None
        if link is None:
            return
        link.close()
        logger.warning("The warden (process %d) has ended; a new one is started.", link.pid)
        _reap(link.pid)
        self._end_what_fell_to_us()

    def _end_what_fell_to_us(self) -> None:
        """End the warden's children, and what they have started."""
        deadline = clock.now() + _TO_END
        while clock.now() < deadline and orphans.end((), self._ours):
            for pid in orphans.children():
                if pid not in self._ours:
                    _reap(pid, os.WNOHANG)
            time.sleep(0.001)

    def reap_orphans(self) -> None:
        """Reap orphans that fell to this process and have ended: to the first of a container, or
        from a warden that was killed.
        """
        for pid in orphans.children():
            if pid not in self._ours and (self.link is None or pid != self.link.pid):
                _reap(pid, os.WNOHANG)

    def close(self) -> None:
        """Close the link to the warden: it ends what is left, and itself."""
        if self.link is not None:
            self.link.close()
            _reap(self.link.pid)
            self.link = None


def _reap(pid: int, how: int = 0) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, how)
