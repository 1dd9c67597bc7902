"""Parts of a stored payload, taken from its text without parsing its arguments.

They stand between the time of the dispatch and the arguments, each as ``,"name":value``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

from djqueue.payload.payload import known_head

__all__ = ["BEGINNING", "Part", "after_sent", "context_text", "display_name", "find_part", "id_in"]
__all__ += ["with_id"]

BEGINNING = 4_000
"""Characters of a payload that are enough for `display_name`, unless its options are unusual."""

_AFTER = frozenset({"packed", "arguments"})
"""The keys that end the parts before the arguments."""
_decoder = json.JSONDecoder()


class Part(NamedTuple):
    """Where a part stands in the text of its payload."""

    name: str
    start: int
    """The position of the comma before its name."""
    value: int
    end: int


def id_in(text: str) -> str:
    """Return the id in a payload; an empty text where that is damaged."""
    known = known_head(text)
    try:
        found = "" if known is None else _decoder.raw_decode(text, known.end)[0]
    except ValueError:
        return ""
    return found if isinstance(found, str) else ""


def after_sent(text: str) -> int:
    """Return the position after the time of the dispatch; -1 where the payload is damaged."""
    known = known_head(text)
    if known is None:
        return -1
    after_id = text.find(",", known.end)
    return text.find(",", after_id + 1) if after_id >= 0 else -1


def with_id(text: str, id: str) -> str:
    """Return `text` with another id; a damaged payload as it is."""
    known = known_head(text)
    if known is None:
        return text
    return f'{text[: known.end]}"{id}"{text[text.find(",", known.end) :]}'


def find_part(text: str, name: str) -> Part | None:
    """Return the part called `name`; None where there is none, or where it is damaged."""
    try:
        return next((part for part in _parts(text) if part.name == name), None)
    except (ValueError, RecursionError):
        return None


def _parts(text: str) -> Iterator[Part]:
    at = after_sent(text)
    while at >= 0 and text.startswith(',"', at):
        name, colon = _decoder.raw_decode(text, at + 1)
        if name in _AFTER:
            return
        value = colon + 1
        _, end = _decoder.raw_decode(text, value)
        yield Part(name, at, value, end)
        at = end


def context_text(text: str) -> str:
    """Return the JSON of the context in a payload; an empty text where there is none, or where it
    is damaged.
    """
    found = _text(text, "context")
    return found if found.startswith("{") else ""


def display_name(text: str) -> str:
    """Return the display name in a payload, or in its first `BEGINNING` characters; an empty text
    where there is none, or where it is damaged.
    """
    found = _text(text, "display_name")
    return json.loads(found) if found.startswith('"') else ""


def _text(text: str, name: str) -> str:
    part = find_part(text, name)
    return "" if part is None else text[part.value : part.end]
