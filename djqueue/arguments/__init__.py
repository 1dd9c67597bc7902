"""Arguments of jobs: values to JSON and back, each as the type it was.

    codec = compile(annotation)
    stored = codec.encode(value, 'shop.SendReceipt: argument "order"')
    value = codec.decode(stored, 'shop.SendReceipt: argument "order"')

============================ ==============================================================
type                         stored as
============================ ==============================================================
None bool int float str      itself
list, dict with text keys    itself, of stored values
other dicts                  ``{"$": "dict", "v": [[key, value], …]}``
tuple set frozenset          ``{"$": "tuple", "v": […]}``; sets in the order of their stored form
bytes                        ``{"$": "bytes", "v": base64}``
text with surrogate pairs    ``{"$": "str", "v": base64}``
SafeString                   ``{"$": "safe", "v": text}``
date datetime time           ``{"$": "date", "v": ISO}``; ``z`` zone, ``n`` its name, ``f`` fold
timedelta                    ``{"$": "timedelta", "v": [days, seconds, microseconds]}``
Decimal UUID                 ``{"$": "decimal", "v": text}``
Model                        ``{"$": "model", "m": "app.model", "k": key, "db": alias}``
QuerySet                     ``{"$": "queryset", "m": "app.model", "k": [key, …], "db": alias}``
Enum                         ``{"$": "enum", "t": class, "v": member}``
NamedTuple, dataclass        ``{"$": "dataclass", "t": class, "v": {field: value}}``
============================ ==============================================================

The tags are a closed table. Nothing is imported because stored data says so: models are looked up
among the installed ones, and classes of the project's own come from the annotation alone; ``t``
only says which of those it names. Encoding and decoding a model or queryset uses the database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from djqueue.arguments.annotations import resolve_annotations
from djqueue.arguments.codec import Codec, compile  # noqa: A004 - as in `re.compile`

if TYPE_CHECKING:
    from djqueue.arguments.errors import Where

__all__ = ["Codec", "compile", "decode", "encode", "resolve_annotations"]


def encode(value: Any, annotation: Any, where: Where) -> Any:
    """The JSON value to store for a value; `NotSerializable` for one that a queue cannot carry."""
    return compile(annotation).encode(value, where)


def decode(data: Any, annotation: Any, where: Where) -> Any:
    """The value that `encode` stored; `InvalidPayload` or `ModelMissing` if it cannot."""
    return compile(annotation).decode(data, where)
