"""A chain after its dispatch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from djqueue.composition.batches import upkeep
from djqueue.composition.chains import steps
from djqueue.dispatch.dispatched import DispatchedJob

if TYPE_CHECKING:
    from djqueue.composition.chains.beginning import Beginning
    from djqueue.composition.chains.steps import Push


class DispatchedChain(DispatchedJob[Any]):
    """The first step of a chain, and the way to end all of it."""

    __slots__ = ("_beginning", "_chain", "_members")

    def __init__(self, chain: str, members: Sequence[Push], beginning: Beginning) -> None:
        connection, first = members[0]
        super().__init__(first.id, connection, first.queue)
        self._chain = chain
        self._members = [(connection, job.id, job.queue) for connection, job in members]
        self._beginning = beginning

    @property
    def created(self) -> bool | None:
        """None while the chain waits for a commit."""
        return True if self._beginning.begun else None

    def cancel(self) -> bool:
        """End the chain: remove the step that waits in its store or runs, and all that wait for
        their turn. Return whether there was one. The outcome of a running step is ignored.
        """
        alias = steps.store()
        withdrawn = self._beginning.withdraw()
        waiting, removed = steps.end(alias, self._chain)
        begun = [each for each in self._members if each[1] not in waiting]
        if not withdrawn and begun:  # the last of these is the one whose turn it is
            connection, id, queue = begun[-1]
            if not connection:
                return upkeep.cancel(id) or removed > 0
            return DispatchedJob(id, connection, queue).cancel() or removed > 0
        return withdrawn or removed > 0
