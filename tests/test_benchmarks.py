"""The raw loops that djqueue is compared with use its own scripts and statements, and would break
unseen when those change: benchmarks are seldom run. So each raw loop runs here, small.
"""

import contextlib
import os

import pytest

from benchmarks.arena import Scale, opened
from tests import services

RAW = {
    "sqlite": ("raw", ["insert", "insert_many"]),
    "postgresql": ("raw", ["insert", "insert_prepared", "insert_many"]),
    "redis": ("raw-redis", ["evalsha", "rpush"]),
    "beanstalkd": ("raw-beanstalkd", ["put", "put_many"]),
}


@pytest.fixture(params=RAW)
def arena(request):
    with contextlib.ExitStack() as stack:
        try:
            yield stack.enter_context(opened(request.param, Scale(rounds=1, quick=True)))
        except services.MissingProgram as missing:
            if os.environ.get("CI") == "true":
                raise
            pytest.skip(str(missing))


def test_raw_loops_run(arena):
    name, pushes = RAW[arena.store.name]
    raw = arena.agent(name)
    for push in pushes:
        assert raw.call(push, count=20) > 0
    raw.call("clear")
    raw.call("many", count=20)
    assert raw.call("loop", window=5) > 0
