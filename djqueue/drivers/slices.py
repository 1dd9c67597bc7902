"""Any number of things, as many at a time as one request or one statement takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def slices(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Return `items` in their order, `size` of them at a time and fewer in the last slice. No item
    is taken from `items` before its slice is asked for.
    """
    left = iter(items)
    while taken := list(islice(left, size)):
        yield taken
