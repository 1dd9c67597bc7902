"""Names that users of other queues try first."""

from __future__ import annotations

from typing import Any

__all__ = ["WrongTurn"]


class WrongTurn:
    """An attribute that is not there, with an `AttributeError` that says what is: `instead`, where
    ``{name}`` is the name of the job.
    """

    def __init__(self, instead: str) -> None:
        self._instead = instead

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        shown = getattr(instance, "__name__", owner.__name__)
        instead = self._instead.replace("{name}", shown)
        raise AttributeError(f"{shown!r} has no {self._name}(). {instead}")
