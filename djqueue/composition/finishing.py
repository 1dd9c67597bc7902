"""The finish of attempts with all that may follow from one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from djqueue.composition.follower import BoundJobs, StopRequests
from djqueue.composition.pushing import push
from djqueue.composition.unique import UniqueKeys
from djqueue.dispatch.connections import driver_of
from djqueue.finish.finish import Finish
from djqueue.finish.ports import Ask, ask_directly
from djqueue.results.running import Results

if TYPE_CHECKING:
    from djqueue.drivers.base import Session


_FOLLOWERS = (Results(), BoundJobs(), UniqueKeys(), StopRequests())


def finish_for(session: Session, connection: str, ask: Ask = ask_directly) -> Finish:
    """Return the finish of jobs of `connection`. Followers stand in the order of their locks."""
    pushes = partial(push, driver_of=driver_of)
    return Finish(session, connection, ask, followers=_FOLLOWERS, push=pushes)
