"""Lists are cut in one way."""

from __future__ import annotations

from djqueue.drivers.slices import slices


def test_slices_are_in_order_and_the_last_one_may_be_shorter():
    assert list(slices([1, 2, 3, 4, 5], 2)) == [[1, 2], [3, 4], [5]]
    assert list(slices((1, 2), 2)) == [(1, 2)]
    assert list(slices([], 2)) == []
