"""How type checkers know what a job returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

__all__ = ["Handles"]

R_co = TypeVar("R_co", covariant=True)


class Handles(Protocol[R_co]):
    """A job whose ``handle()`` returns an ``R``, or a coroutine of one."""

    @property
    def handle(self) -> Callable[..., R_co]:
        """The method that does the work."""
