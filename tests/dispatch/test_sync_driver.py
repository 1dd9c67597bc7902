"""The driver of ``sync`` connections keeps nothing."""

from __future__ import annotations

import pytest

from djqueue import queues
from djqueue.errors import Unsupported

ID = "0199e2b5-0000-7000-8000-000000000000"


def test_it_holds_nothing_and_finds_nothing():
    connection = queues["sync"]
    assert connection.driver.capabilities.inline
    assert (connection.size(), connection.is_empty(), connection.peek()) == (0, True, [])
    assert (connection.clear(), connection.remove(None, [ID])) == (0, 0)
    assert connection.driver.session().exchange([], ["default"], 3) == (set(), [])
    assert (connection.inspector.find(["x"]), connection.inspector.queues()) == ([], [])


def test_a_push_past_the_dispatcher_says_that_jobs_run_at_once():
    with pytest.raises(Unsupported, match="runs in the process"):
        queues["sync"].driver.push([])
