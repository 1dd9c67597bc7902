"""The search box: ``8c1f…``, ``91``, ``job:shop.Mail``, ``arg:order=42``, or a part of a name."""

from __future__ import annotations

import json
import re
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, Any

from django.db.models import Q, Value
from django.db.models.functions import StrIndex, Substr

from djqueue.admin.lists.terms import SHORTEST_ID, Search, Term, part_of_id, values_of
from djqueue.errors import InvalidPayload, QueueUnavailable
from djqueue.operations.describe import read_for_people
from djqueue.payload.links import links_of
from djqueue.text import short_ids as ids

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from djqueue.drivers.base import StoredJob

__all__ = ["NEWEST", "Wanted", "narrowed"]

NEWEST = 10_000
"""Rows in whose payloads is searched: the newest ones that the filters leave."""
MOST_STARS = 4
"""More of them would make a database try very many ways to fit a name."""
_ROW = re.compile(r"[0-9]{1,18}\Z")
_PART_OF_ID = re.compile(r"[0-9a-f-]{6,36}\Z")
_BEFORE_ARGUMENTS = 8192
"""Characters of a payload in which tags are looked for: they stand before the arguments."""
_IN_PAYLOAD = ("tag", "arg")


def narrowed(rows: QuerySet[Any], search: Search, free: str = "name") -> tuple[QuerySet[Any], bool]:
    """Return the rows that all words match, and whether only the `NEWEST` were looked at. Words
    without a qualifier are looked for in ids, in names and in the column `free`.
    """
    if search.error:
        return rows.none(), False
    plain = [each for each in search.terms if each.kind not in _IN_PAYLOAD]
    rows = rows.filter(reduce(and_, (_condition(each, free) for each in plain), Q()))
    inside = [each for each in search.terms if each.kind in _IN_PAYLOAD]
    if not inside:
        return rows, False
    newest = rows.order_by("-pk").values_list("pk", flat=True)
    bound = newest[NEWEST : NEWEST + 1].first()
    arguments = StrIndex("payload", Value('"arguments":{'))
    rows = rows.alias(
        djqueue_head=Substr("payload", 1, _BEFORE_ARGUMENTS),
        djqueue_arguments=Substr("payload", arguments),
    )
    rows = rows.filter(reduce(and_, map(_inside, inside), Q()))
    return (rows if bound is None else rows.filter(pk__gt=bound)), bound is not None


def _inside(term: Term) -> Q:
    if term.kind == "tag":
        tag = re.escape(json.dumps(term.value))
        return Q(djqueue_head__regex=rf'"tags":\[("[^"]*",)*{tag}[],]')
    name, _equals, given = term.value.partition("=")
    values = "|".join(re.escape(text) for text in values_of(given))
    # A value of its own; of a model instance, its key; of a date and the like, its text.
    reference = r'(\{"\$":"[^"]*",("[a-z]+":"[^"]*",)*"[kv]":)?'
    return Q(djqueue_arguments__regex=rf"{re.escape(json.dumps(name))}:{reference}({values})[,}}]")


def _condition(term: Term, free: str) -> Q:
    kind, value = term
    if kind == "job":
        return _named("name", value)
    if kind == "queue":
        return Q(queue=value)
    if kind == "exc":
        return _named("exception_class", value)
    if kind == "batch":
        lower = value.casefold()
        return Q(batch_id=lower) if len(lower) >= ids.LENGTH else Q(batch_id__endswith=lower)
    if kind == "id" or part_of_id(term) is not None:  # an id has an index: nothing else is meant
        return _id(value)
    return _id(value) | Q(**{f"{free}__icontains": value}) | Q(name__icontains=value)


def _named(column: str, value: str) -> Q:
    """Return the condition for a dotted name or its last part; ``*`` stands for any text."""
    if "*" in value:
        pattern = ".*".join(
            re.escape(part) for part in re.split(r"\*+", value, maxsplit=MOST_STARS)
        )
        return Q(**{f"{column}__iregex": rf"(^|\.){pattern}$"})
    return Q(**{f"{column}__iexact": value}) | Q(**{f"{column}__iendswith": f".{value}"})


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
