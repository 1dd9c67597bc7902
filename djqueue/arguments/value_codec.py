"""The codec of a value, as those see it that pack and unpack its parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class ValueCodec(Protocol):
    """What an annotation says about a value, and about the parts of it."""

    def pack(self, value: Any, depth: int) -> Any:
        """The stored form of a value `depth` containers deep."""

    def unpack(self, data: Any, depth: int) -> Any:
        """The value of a stored form `depth` containers deep."""

    def unpack_scalar(self, data: Any) -> Any:
        """The value of a stored form that has no parts."""

    @property
    def models(self) -> Sequence[type] | None:
        """The models it names, perhaps none; None where any model may be."""

    @property
    def rows(self) -> Sequence[type] | None:
        """The models of which a queryset may be there, perhaps none; None: any."""

    @property
    def unresolved(self) -> Sequence[str]:
        """The names in it that were not found."""

    @property
    def item(self) -> ValueCodec:
        """That of the items of a list, set or queryset."""

    @property
    def key(self) -> ValueCodec:
        """That of the keys of a dict."""

    def entry(self, key: Any) -> ValueCodec:
        """That of the value at this key of a dict."""

    def position(self, index: int, length: int) -> ValueCodec:
        """That of one item of a tuple of this length."""
