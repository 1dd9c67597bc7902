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

The table of tags is closed. Stored data never causes an import: models are looked up among the
installed ones, and classes of the project come from the annotation alone; ``t`` only says which of
those is meant. Encoding and decoding a model or queryset uses the database.

Not here: the payload around the arguments, and where large ones are kept (`djqueue.payload`).
"""

from __future__ import annotations

from djqueue.arguments.annotations import missing_name, resolve_annotations
from djqueue.arguments.codec import Codec, compile  # noqa: A004 - as in `re.compile`

__all__ = ["Codec", "compile", "missing_name", "resolve_annotations"]
