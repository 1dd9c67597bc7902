"""Since when a job has been waiting for a worker, as far as its payload says it.

    "due":1790000030.123

stands in the payload after the time of the dispatch where the job was to wait longer than that: it
has a delay, or an operator has retried it.
"""

from __future__ import annotations

from djqueue.payload.links import links_of, may_be_linked
from djqueue.payload.parts import after_sent, find_part

__all__ = ["waits_since", "with_due"]

_DUE = "due"


def waits_since(text: str) -> float | None:
    """Return since when the job has been waiting for a worker, in seconds since the epoch. Return
    None for a step of a chain, whose turn comes at a time that no payload knows, and for a damaged
    payload.
    """
    end = after_sent(text)
    if end < 0 or (may_be_linked(text) and links_of(text).chain):
        return None
    part = find_part(text, _DUE)
    try:
        return float(
            text[part.value : part.end] if part else text[text.rfind(":", 0, end) + 1 : end]
        )
    except ValueError:
        return None


def with_due(text: str, at: float) -> str:
    """Return `text` of a job that waits for a worker from `at` on (seconds since the epoch); a
    damaged payload as it is.
    """
    part = find_part(text, _DUE)
    start = after_sent(text) if part is None else part.start
    if start < 0:
        return text
    rest = text[start if part is None else part.end :]
    return f'{text[:start]},"{_DUE}":{at:.3f}{rest}'
