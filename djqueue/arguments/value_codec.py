"""`ValueCodec`: what the modules that pack and unpack containers, models and classes need to know
of a `djqueue.arguments.codec.Codec`, which imports them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class ValueCodec(Protocol):
    """What an annotation says about a value and its parts; see `Codec`."""

    def pack(self, value: Any, depth: int) -> Any:
        """Return the stored form of a value `depth` containers deep."""

    def unpack(self, data: Any, depth: int) -> Any:
        """Return the value of a stored form `depth` containers deep."""

    def unpack_scalar(self, data: Any) -> Any:
        """Return the value of a stored form that has no parts."""

    @property
    def models(self) -> Sequence[type] | None:
        """The models that the annotation names, possibly none; None if it allows any model."""

    @property
    def rows(self) -> Sequence[type] | None:
        """The models of allowed querysets, possibly none; None if it allows any queryset."""

    @property
    def unresolved(self) -> Sequence[str]:
        """The names in the annotation that could not be resolved."""

    @property
    def item(self) -> ValueCodec:
        """The codec of the items of a list, set or queryset."""

    @property
    def key(self) -> ValueCodec:
        """The codec of the keys of a dict."""

    def entry(self, key: Any) -> ValueCodec:
        """Return the codec of the value at this key of a dict."""

    def position(self, index: int, length: int) -> ValueCodec:
        """Return the codec of one item of a tuple of this length."""
