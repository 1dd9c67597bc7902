"""Lists are cut in one way."""

from __future__ import annotations

from djqueue.drivers.slices import slices


def test_slices_are_in_order_and_the_last_one_may_be_shorter():
    assert list(slices([1, 2, 3, 4, 5], 2)) == [[1, 2], [3, 4], [5]]
    assert list(slices((1, 2), 2)) == [[1, 2]]
    assert list(slices([], 2)) == []


def test_a_slice_is_taken_when_it_is_asked_for():
    numbers = iter(range(5))
    assert next(slices(numbers, 2)) == [0, 1]
    assert next(numbers) == 2
