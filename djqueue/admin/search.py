"""The search box: ``8c1f…``, ``91``, ``job:shop.SendMail``, ``queue:mail``, or a part of a name."""

from __future__ import annotations

import re
import shlex
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING

from django.db.models import Q

from djqueue import ids

if TYPE_CHECKING:
    from collections.abc import Iterable

SHORTEST_ID = 4
"""Fewer hexadecimal digits are no part of an id but of a name."""
_ROW = re.compile(r"[0-9]{1,18}\Z")
_PART_OF_ID = re.compile(r"[0-9a-f-]{4,36}\Z")


def condition(text: str, free: str = "name") -> Q:
    """The rows that all words of a search fit.

    Words without a qualifier are looked for in ids, in names and in the column `free`.
    """
    return reduce(and_, (_word(word, free) for word in _words(text)), Q())


def _words(text: str) -> Iterable[str]:
    try:
        return shlex.split(text)
    except ValueError:  # a quotation mark that is never closed
        return text.split()


def _word(word: str, free: str) -> Q:
    qualifier, colon, value = word.partition(":")
    if colon and value:
        if qualifier == "job":
            return _named("name", value)
        if qualifier == "queue":
            return Q(queue=value)
        if qualifier == "exc" and free != "name":
            return _named("exception_class", value)
        if qualifier == "id":
            return _id(value)
    return _id(word) | Q(**{f"{free}__icontains": word}) | Q(name__icontains=word)


def _named(column: str, value: str) -> Q:
    """A dotted name or its last part; ``*`` stands for anything."""
    if "*" in value:
        pattern = ".*".join(re.escape(part) for part in value.split("*"))
        return Q(**{f"{column}__iregex": rf"(^|\.){pattern}$"})
    return Q(**{f"{column}__iexact": value}) | Q(**{f"{column}__iendswith": f".{value}"})


def _id(word: str) -> Q:
    """A row number, a uuid, or the beginning or end of one."""
    found = Q(pk=int(word)) if _ROW.match(word) else Q(pk__in=())
    lower = word.casefold()
    if not _PART_OF_ID.match(lower) or len(lower.replace("-", "")) < SHORTEST_ID:
        return found
    part = lower.replace("-", "")
    if len(part) == ids.LENGTH:
        return found | Q(uuid=part)
    return found | Q(uuid__startswith=ids.as_begin(part)) | Q(uuid__endswith=ids.as_end(part))
