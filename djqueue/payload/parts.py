"""Parts of a stored payload, taken from its text without parsing the rest."""

from __future__ import annotations

import json

from djqueue.payload.payload import known_head

__all__ = ["context_text"]

_CONTEXT = ',"context":{'
_decoder = json.JSONDecoder()


def context_text(text: str) -> str:
    """Return the JSON of the context in a payload, which comes after the id and the time of the
    dispatch; an empty text where there is none, or where it is damaged.
    """
    known = known_head(text)
    if known is None:
        return ""
    after_id = text.find(",", known.end)
    at = text.find(",", after_id + 1)
    if after_id < 0 or not text.startswith(_CONTEXT, at):
        return ""
    start = at + len(_CONTEXT) - 1
    try:
        _, end = _decoder.raw_decode(text, start)
    except (ValueError, RecursionError):
        return ""
    return text[start:end]
