"""Parts of a stored payload, taken from its text without parsing the rest."""

from __future__ import annotations

import json

from djqueue.payload.payload import known_head

__all__ = ["BEGINNING", "context_text", "display_name"]

BEGINNING = 4_000
"""Characters of a payload that are enough for `display_name`, unless its options are unusual."""

_AFTER = frozenset({"packed", "arguments"})
"""The keys that end the parts before the arguments."""
_decoder = json.JSONDecoder()


def context_text(text: str) -> str:
    """Return the JSON of the context in a payload; an empty text where there is none, or where it
    is damaged.
    """
    found = _part(text, "context")
    return found if found.startswith("{") else ""


def display_name(text: str) -> str:
    """Return the display name in a payload, or in its first `BEGINNING` characters; an empty text
    where there is none, or where it is damaged.
    """
    found = _part(text, "display_name")
    return json.loads(found) if found.startswith('"') else ""


def _part(text: str, name: str) -> str:
    """Return the JSON of an optional part, which comes after the id and the dispatch's time."""
    known = known_head(text)
    if known is None:
        return ""
    at = text.find(",", text.find(",", known.end) + 1)
    try:
        while text.startswith(',"', at):
            key, start = _decoder.raw_decode(text, at + 1)
            if key in _AFTER:
                break
            _, at = _decoder.raw_decode(text, start + 1)
            if key == name:
                return text[start + 1 : at]
    except (ValueError, RecursionError):
        pass
    return ""
