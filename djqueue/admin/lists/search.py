"""The search box: ``8c1f…``, ``91``, ``job:shop.SendMail``, ``queue:mail``, or a part of a name."""

from __future__ import annotations

import re
import shlex
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING

from django.db.models import Q

from djqueue.text import short_ids as ids

if TYPE_CHECKING:
    from djqueue.drivers.base import StoredJob

SHORTEST_ID = ids.SHORTEST
"""Fewer hexadecimal digits are no part of an id but of a name."""
MOST_STARS = 4
"""More of them would make a database try very many ways to fit a name."""
_ROW = re.compile(r"[0-9]{1,18}\Z")
_PART_OF_ID = re.compile(r"[0-9a-f-]{6,36}\Z")
MOST_WORDS = 10
LONGEST = 200
"""Characters of a search. Nothing that is searched for is longer, and databases have limits."""


def condition(text: str, free: str = "name", *, exceptions: bool = False) -> Q:
    """Return the condition that all words of a search make. Words without a qualifier are looked
    for in ids, in names and in the column `free`; with `exceptions` ``exc:`` and ``batch:`` are
    qualifiers too.
    """
    words = _words(text)[:MOST_WORDS] if len(text) <= LONGEST and "\0" not in text else None
    if words is None:
        return Q(pk__in=())
    return reduce(and_, (_word(word, free, exceptions=exceptions) for word in words), Q())


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # a quotation mark that is never closed
        return text.split()


def _word(word: str, free: str, *, exceptions: bool) -> Q:
    qualifier, colon, value = word.partition(":")
    if colon and value:
        if qualifier == "job":
            return _named("name", value)
        if qualifier == "queue":
            return Q(queue=value)
        if qualifier == "exc" and exceptions:
            return _named("exception_class", value)
        if qualifier == "batch" and exceptions:
            return Q(batch_id=value.casefold())
        if qualifier == "id":
            return _id(value)
    if _is_id(word):  # nothing else is meant, and an id has an index
        return _id(word)
    return _id(word) | Q(**{f"{free}__icontains": word}) | Q(name__icontains=word)


def _named(column: str, value: str) -> Q:
    """Return the condition for a dotted name or its last part; ``*`` stands for any text."""
    if "*" in value:
        pattern = ".*".join(
            re.escape(part) for part in re.split(r"\*+", value, maxsplit=MOST_STARS)
        )
        return Q(**{f"{column}__iregex": rf"(^|\.){pattern}$"})
    return Q(**{f"{column}__iexact": value}) | Q(**{f"{column}__iendswith": f".{value}"})


def _is_id(word: str) -> bool:
    """Return whether a word is a whole id."""
    return bool(_PART_OF_ID.match(word.casefold())) and len(word.replace("-", "")) == ids.LENGTH


def _id(word: str) -> Q:
    """Return the condition for a row number, a uuid, or the beginning or end of one."""
    found = Q(pk=int(word)) if _ROW.match(word) else Q(pk__in=())
    lower = word.casefold()
    if not _PART_OF_ID.match(lower) or len(lower.replace("-", "")) < SHORTEST_ID:
        return found
    part = lower.replace("-", "")
    if len(part) == ids.LENGTH:
        return found | Q(uuid=part)
    return found | Q(uuid__startswith=ids.as_begin(part)) | Q(uuid__endswith=ids.as_end(part))


class Wanted:
    """What a search leaves of jobs that are in no table, by the same words."""

    def __init__(self, text: str) -> None:
        usable = len(text) <= LONGEST and "\0" not in text
        self._words = _words(text)[:MOST_WORDS] if usable else []
        self.nothing = not usable
        """No job fits."""
        self.everything = usable and not self._words
        """Every job fits."""
        self.ids = [part for word in self._words if (part := _part(word)) is not None]
        """Ids, or parts of ids, as hexadecimal digits: to be looked for instead of listing."""

    def fits(self, job: StoredJob) -> bool:
        """Return whether all words match `job`."""
        return all(self._fits(word, job) for word in self._words)

    def _fits(self, word: str, job: StoredJob) -> bool:
        qualifier, colon, value = word.partition(":")
        digits = job.id.replace("-", "")
        if (part := _part(word)) is not None:
            return digits.startswith(part) or digits.endswith(part)
        if colon and value and qualifier == "queue":
            return job.queue == value
        if colon and value and qualifier == "job":
            return _is_named(job.name, value)
        folded = word.casefold()
        in_id = len(folded) >= SHORTEST_ID and folded.replace("-", "") in digits
        return in_id or folded in job.name.casefold()


def _is_named(name: str, value: str) -> bool:
    """Do as `_named` for a name of any length: each part matches at its first place, which is never
    searched twice.
    """
    text, end = f".{name.lower()}", 0
    *parts, last = re.split(r"\*+", f".{value.lower()}", maxsplit=MOST_STARS)
    for part in parts:
        at = text.find(part, end)
        if at < 0:
            return False
        end = at + len(part)
    return text.endswith(last) and len(text) - len(last) >= end


def _part(word: str) -> str | None:
    """Return the digits of a word that can only be an id or a part of one."""
    qualifier, _colon, value = word.partition(":")
    given = value if qualifier == "id" else word
    if not _PART_OF_ID.match(given.casefold()):
        return None
    digits = given.casefold().replace("-", "")
    is_part = qualifier == "id" and SHORTEST_ID <= len(digits) <= ids.LENGTH
    return digits if is_part or len(digits) == ids.LENGTH else None
