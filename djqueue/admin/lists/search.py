"""The search box: ``8c1f…``, ``91``, ``job:shop.Mail``, ``arg:order=42``, or a part of a name."""

from __future__ import annotations

import json
import re
from functools import reduce
from operator import and_, or_
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db.models import Q, Value
from django.db.models.functions import StrIndex, Substr
from django.db.models.lookups import GreaterThan

from djqueue.admin.lists.paginator import CAP
from djqueue.admin.lists.queue_names import names_in
from djqueue.admin.lists.terms import SHORTEST_ID, Search, Term, part_of_id, values_of
from djqueue.errors import InvalidPayload, QueueUnavailable
from djqueue.operations.describe import read_for_people
from djqueue.payload.links import links_of
from djqueue.text import short_ids as ids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.models import QuerySet

    from djqueue.drivers.base import StoredJob

__all__ = ["Narrowed", "Wanted", "narrowed"]

NEWEST = 1_000
"""Rows in whose payloads is searched: the newest ones that the filters leave."""
READ = 20_000
"""Rows in whose texts is searched, where no index helps: the newest ones."""
FEW = 1_000
"""Rows that a search has found are asked for by their numbers if there are no more."""
MOST_STARS = 4
"""More of them would make a database try very many ways to fit a name."""
_ROW = re.compile(r"[0-9]{1,18}\Z")
_PART_OF_ID = re.compile(r"[0-9a-f-]{6,36}\Z")
_BEFORE_ARGUMENTS = 8192
"""Characters of a payload in which tags are looked for: they stand before the arguments."""
_IN_PAYLOAD = ("tag", "arg")
_NAMED = {"job": "name", "exc": "exception_class"}
"""The columns of words that are names."""
MOST_NAMES = 2_000
"""Names of jobs and exceptions that are compared one by one."""


class Narrowed(NamedTuple):
    """What a search leaves."""

    rows: QuerySet[Any]
    newest: int | None = None
    """How many of the newest rows were looked at; None: all rows."""
    number: int | None = None
    """How many there are, as far as lists count; None where the search has not counted."""


def narrowed(rows: QuerySet[Any], search: Search, free: str = "name") -> Narrowed:
    """Return the rows that all words match. Words without a qualifier are looked for in ids, in
    names and in the column `free`.
    """
    if search.error:
        return Narrowed(rows.none(), number=0)
    conditions = [_of(each, free, rows) for each in search.terms if each.kind not in _IN_PAYLOAD]
    found = rows.filter(reduce(and_, (each.where for each in conditions), Q()))
    inside = [each for each in search.terms if each.kind in _IN_PAYLOAD]
    if not inside and not any(each.reads for each in conditions):
        return Narrowed(found)
    newest = NEWEST if inside else READ
    every = (found if inside else rows).order_by("-pk").values_list("pk", flat=True)
    oldest = every[newest : newest + 1].first()
    if oldest is not None:
        always = reduce(or_, (each.always for each in conditions), Q())
        found = found.filter(Q(pk__gt=oldest) | always)
    found = _with_payload(found, inside) if inside else found
    keys = _keys(found)
    bounded = None if oldest is None else newest
    some = found if len(keys) > FEW else rows.filter(pk__in=keys)
    return Narrowed(some, bounded, len(keys))


def _keys(rows: QuerySet[Any]) -> list[int]:
    return list(rows.order_by("-pk").values_list("pk", flat=True)[: CAP + 1])


class _Condition(NamedTuple):
    """What a word means."""

    where: Q
    reads: bool = False
    """No index has it: rows are read one by one."""
    always: Q = Q()
    """Rows that are looked at however old they are."""


def _of(term: Term, free: str, rows: QuerySet[Any]) -> _Condition:
    kind, value = term
    if kind in _NAMED:
        names = _names_like(_NAMED[kind], value, rows)
        if names is not None:
            return _Condition(Q(**{f"{_NAMED[kind]}__in": names}))
        return _Condition(_named(_NAMED[kind], value), reads=True)
    if kind in ("queue", "batch"):
        return _Condition(_placed(kind, value))
    digits = value.casefold().replace("-", "")
    if kind == "id" or part_of_id(term) is not None:  # an id has an index: nothing else is meant
        return _Condition(_id(value, rows))
    number = Q(pk=int(value)) if _ROW.match(value) else Q(pk__in=())
    if _PART_OF_ID.match(value.casefold()) and len(digits) >= SHORTEST_ID:
        keys = _keys(rows.filter(_id(value, rows)))
        if keys:
            return _Condition(Q(pk__in=keys))
    words = Q(**{f"{free}__icontains": value}) | Q(name__icontains=value)
    return _Condition(number | words, reads=True, always=number)


def _names_like(column: str, value: str, rows: QuerySet[Any]) -> list[str] | None:
    """Return the names in a column that are meant; None where no index has them, or where there are
    too many.
    """
    if rows.model.__name__ != "FailedJob":
        return None
    known = names_in(rows.db, column, MOST_NAMES + 1)
    return [each for each in known if _is_named(each, value)] if len(known) <= MOST_NAMES else None


def _with_payload(rows: QuerySet[Any], inside: Sequence[Term]) -> QuerySet[Any]:
    arguments = StrIndex("payload", Value('"arguments":{'))
    rows = rows.alias(
        djqueue_head=Substr("payload", 1, _BEFORE_ARGUMENTS),
        djqueue_arguments=Substr("payload", arguments),
    )
    for each in inside:  # a text is found faster than a pattern
        rows = rows.filter(GreaterThan(StrIndex("payload", Value(_text_of(each))), 0))
    return rows.filter(reduce(and_, map(_inside, inside), Q()))


def _text_of(term: Term) -> str:
    """Return a text that every payload has which the term means."""
    if term.kind == "tag":
        return json.dumps(term.value)
    return f"{json.dumps(term.value.partition('=')[0])}:"


def _inside(term: Term) -> Q:
    if term.kind == "tag":
        tag = re.escape(json.dumps(term.value))
        return Q(djqueue_head__regex=rf'"tags":\[("[^"]*",)*{tag}[],]')
    name, _equals, given = term.value.partition("=")
    values = "|".join(re.escape(text) for text in values_of(given))
    # A value of its own; of a model instance, its key; of a date and the like, its text.
    reference = r'(\{"\$":"[^"]*",("[a-z]+":"[^"]*",)*"[kv]":)?'
    return Q(djqueue_arguments__regex=rf"{re.escape(json.dumps(name))}:{reference}({values})[,}}]")


def _placed(kind: str, value: str) -> Q:
    if kind == "queue":
        return Q(queue=value)
    lower = value.casefold()
    return Q(batch_id=lower) if len(lower) >= ids.LENGTH else Q(batch_id__endswith=lower)


def _named(column: str, value: str) -> Q:
    """Return the condition for a dotted name or its last part; ``*`` stands for any text."""
    if "*" in value:
        pattern = ".*".join(
            re.escape(part) for part in re.split(r"\*+", value, maxsplit=MOST_STARS)
        )
        return Q(**{f"{column}__iregex": rf"(^|\.){pattern}$"})
    return Q(**{f"{column}__iexact": value}) | Q(**{f"{column}__iendswith": f".{value}"})


def _id(word: str, rows: QuerySet[Any]) -> Q:
    """Return the condition for a row number, a uuid, or the beginning or end of one."""
    found = Q(pk=int(word)) if _ROW.match(word) else Q(pk__in=())
    lower = word.casefold()
    if not _PART_OF_ID.match(lower) or len(lower.replace("-", "")) < SHORTEST_ID:
        return found
    part = lower.replace("-", "")
    if len(part) == ids.LENGTH:
        return found | Q(uuid=part)
    # Of the ids alone, which are in an index: the rows themselves may be large.
    like = Q(uuid__startswith=ids.as_begin(part)) | Q(uuid__endswith=ids.as_end(part))
    every = rows.model._base_manager.using(rows.db).filter(like)
    return found | Q(uuid__in=every.order_by().values("uuid"))


class Wanted:
    """What a search leaves of jobs that are in no table, by the same words."""

    def __init__(self, search: Search) -> None:
        self._terms = search.terms
        self.error = search.error
        """Why no job fits; empty if some may."""
        self.everything = not search.terms and not search.error
        """Every job fits."""
        self.ids = [part for each in self._terms if (part := part_of_id(each)) is not None]
        """Ids, or parts of ids, as hexadecimal digits: to be looked for instead of listing."""

    def fits(self, job: StoredJob) -> bool:
        """Return whether all words match `job`."""
        return not self.error and all(_fits(term, job) for term in self._terms)


def _fits(term: Term, job: StoredJob) -> bool:
    kind, value = term
    digits = job.id.replace("-", "")
    if (part := part_of_id(term)) is not None:
        return digits.startswith(part) or digits.endswith(part)
    if kind == "queue":
        return job.queue == value
    if kind == "job":
        return _is_named(job.name, value)
    if kind == "batch":
        return bool(value) and links_of(job.payload).batch.endswith(value.casefold())
    if kind in _IN_PAYLOAD:
        return _has_inside(term, job.payload)
    folded = value.casefold()
    in_id = len(folded) >= SHORTEST_ID and folded.replace("-", "") in digits
    return in_id or folded in job.name.casefold()


def _has_inside(term: Term, payload: str) -> bool:
    try:
        read, _problem = read_for_people(payload)
    except (InvalidPayload, QueueUnavailable):
        return False
    if term.kind == "tag":
        return term.value in read.tags
    name, _equals, given = term.value.partition("=")
    if name not in read.arguments:  # as of encrypted ones
        return False
    value = read.arguments[name]
    if isinstance(value, dict) and "$" in value:
        value = value.get("k", value.get("v"))
    return json.dumps(value) in values_of(given)


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
