"""What binds a job to others: its chain, its batch, or a key that one job has at a time. Links
stand in the payload after the time of the dispatch, and are absent from most payloads.

    "links":{"chain":"…","step":2,"previous":{"name":"shop.Fetch","value":…}}
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from djqueue.payload.parts import after_sent, find_part
from djqueue.payload.payload import encode_more

__all__ = ["KEEPS_RESULT", "LINKS_BEFORE", "LINKS_MARK", "NO_LINKS", "Links", "batches_of"]
__all__ += ["chains_of", "links_of", "may_be_linked", "needs_guard", "read_links", "with_links"]
__all__ += ["MOVED_MARK", "stored_links", "with_step"]

LINKS_MARK = ',"links":{'
"""What a payload with links contains."""
MOVED_MARK = '"moved":"'
"""What a payload contains whose links have `Links.moved`, and few others."""
LINKS_BEFORE = 4096 + 200
"""No links begin behind this character: a head is no longer than 4,096."""


class Links(NamedTuple):
    """To what a job is bound."""

    chain: str = ""
    """The id of the chain that it is a step of."""
    step: int = 0
    """The number of the step, from 1."""
    previous: Mapping[str, Any] | None = None
    """``name`` of the step before, and the ``value`` it returned, as it is stored."""
    push: str = ""
    """The push that brought the job back, where it was not its first: that of a retry."""
    unique: str = ""
    """The key of which there is one job at a time."""
    result: bool = False
    """Its result is kept: see `djqueue.results`."""
    unique_for: float | None = None
    """Seconds after which another job takes that key."""
    batch: str = ""
    """The id of the batch that it is a member of."""
    follows: str = ""
    """The id of the batch whose state called for it."""
    keyed: bool = False
    """Who has the key is known in SQL alone: the end of the job frees it there."""
    once: bool = False
    """An end called for it: it runs once, however often it is pushed."""
    retried: bool = False
    """It, or an earlier step of its chain, has failed and was retried: it runs although its batch
    may be cancelled."""
    moved: str = ""
    """The push that follows `push` when the job has left the outbox, on its way from a store that
    may still have it."""


NO_LINKS = Links()
KEEPS_RESULT = f'{LINKS_MARK}"result":true}}'
"""The links of a job that is bound to nothing and whose result is kept."""


def may_be_linked(text: str) -> bool:
    """Return whether a payload may have links: a cheap test, which is wrong for few others."""
    return text.find(LINKS_MARK, 0, LINKS_BEFORE) > 0


def needs_guard(text: str) -> bool:
    """Return whether a payload is that of a job whose end is written in SQL, wherever the job is:
    it may have ended there already when it comes again.
    """
    if not may_be_linked(text):
        return False
    links = links_of(text)
    return bool(links.chain or links.batch or links.result or links.keyed or links.once)


def links_of(text: str) -> Links:
    """Return the links of a payload; none where it is damaged. What follows from an end asks for
    them again and again: those of the latest short payloads are kept.
    """
    return _read(text) if len(text) <= _SHORT else _read.__wrapped__(text)


@lru_cache(maxsize=1024)  # more than a worker holds at once
def _read(text: str) -> Links:
    part = find_part(text, "links")
    if part is None:
        return NO_LINKS
    links = text[part.value : part.end]
    return _parse(links) if len(links) <= _SHORT_LINKS else _parse.__wrapped__(links)


@lru_cache(maxsize=64)  # those of all members of a batch are the same
def _parse(text: str) -> Links:
    found = json.loads(text)
    return read_links(found) if isinstance(found, dict) else NO_LINKS


def read_links(found: Mapping[str, Any]) -> Links:
    """Return links from their JSON object. What is not of its kind is left out."""
    get = found.get
    step, previous, seconds = get("step"), get("previous"), get("unique_for")
    return Links(
        chain=_id(get("chain")),
        step=step if isinstance(step, int) and abs(step) < _MOST_STEPS else 0,
        previous=previous if isinstance(previous, dict) else None,
        push=_id(get("push")),
        unique=_key(get("unique")),
        result=get("result") is True,
        unique_for=seconds if isinstance(seconds, (int, float)) else None,
        batch=_id(get("batch")),
        follows=_id(get("follows")),
        keyed=get("keyed") is True,
        once=get("once") is True,
        retried=get("retried") is True,
        moved=_id(get("moved")),
    )


def _id(value: object) -> str:
    return value if isinstance(value, str) and _ID.match(value) else ""


def _key(value: object) -> str:
    return value if isinstance(value, str) and _KEY.match(value) else ""


_MOST_STEPS = 1 << 31
_SHORT = 4096
"""Characters of the longest payload whose links are kept in memory."""
_SHORT_LINKS = 200
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_KEY = re.compile(r"[\x20-\x7e]{1,255}\Z")


def chains_of(payloads: Iterable[str]) -> list[str]:
    """Return the ids of the chains that payloads are steps of, each once and in order."""
    found = {links_of(text).chain for text in payloads if may_be_linked(text)}
    return sorted(found - {""})


def batches_of(payloads: Iterable[str]) -> dict[str, int]:
    """Return the ids of the batches that payloads are members of, with how many of each."""
    found = Counter(links_of(text).batch for text in payloads if may_be_linked(text))
    del found[""]
    return dict(sorted(found.items()))


def with_links(text: str, links: Links) -> str:
    """Return `text` with these links in place of its own; a damaged payload as it is."""
    part, more = find_part(text, "links"), encode_more(links=stored_links(links))
    start = after_sent(text) if part is None else part.start
    if start < 0:
        return text
    return f"{text[:start]}{more}{text[start if part is None else part.end :]}"


def with_step(text: str, links: Links) -> str:
    """Do as `with_links`, for a step of a chain or a member of a batch: whether its result is kept
    stays as it was.
    """
    return with_links(text, links._replace(result=may_be_linked(text) and links_of(text).result))


def stored_links(links: Links) -> dict[str, Any]:
    """Return links as a JSON object, without those that are absent."""
    return {name: value for name, value in links._asdict().items() if value}
