"""Any number of things, as many at a time as one request or one statement takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar, overload

T = TypeVar("T")


@overload
def slices(items: list[T], size: int) -> Iterator[list[T]]: ...
@overload
def slices(items: Sequence[T], size: int) -> Iterator[Sequence[T]]: ...
def slices(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """`items` in their order, `size` of them at a time and fewer in the last slice."""
    return (items[start : start + size] for start in range(0, len(items), size))
