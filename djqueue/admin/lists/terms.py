"""The words of a search: what each looks for, and what is wrong with them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Collection
from typing import NamedTuple

from django.utils.translation import gettext

from djqueue.text import short_ids as ids
from djqueue.text.masking import is_secret
from djqueue.text.printable import one_line

__all__ = ["OF_FAILED", "OF_JOBS", "SHORTEST_ID", "Search", "Term", "part_of_id", "values_of"]

OF_JOBS = ("id", "job", "queue", "tag", "batch", "arg")
OF_FAILED = (*OF_JOBS, "exc")
_VALUES = ("tag", "arg")
"""Words that look for values, which not everybody may see."""
SHORTEST_ID = ids.SHORTEST
"""Fewer hexadecimal digits are no part of an id but of a name."""
MOST_WORDS = 10
LONGEST = 200
"""Characters of a search. Nothing that is searched for is longer, and databases have limits."""
_QUALIFIED = re.compile(r"([a-z_]+):(?!//)(.+)\Z", re.DOTALL)
_PART_OF_ID = re.compile(r"[0-9a-f-]{6,36}\Z")


class Term(NamedTuple):
    """A word of a search."""

    kind: str
    """``job``, ``arg`` and so on; empty for a word without a qualifier."""
    value: str


class Search(NamedTuple):
    """A search that was read."""

    terms: tuple[Term, ...] = ()
    error: str = ""
    """Why it finds nothing, for people."""

    @classmethod
    def read(cls, text: str, known: Collection[str], *, values: bool) -> Search:
        """Read what was typed. `known` are the qualifiers; `values`: the user may see values."""
        if "\0" in text or len(text) > LONGEST:
            limit = gettext("A search has at most %(limit)d characters.") % {"limit": LONGEST}
            return cls(error=limit)
        terms = tuple(map(_term, _words(text)[:MOST_WORDS]))
        errors = [error for each in terms if (error := _error(each, known, values=values))]
        return cls(error=errors[0]) if errors else cls(terms)


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # a quotation mark that is never closed
        return text.split()


def _term(word: str) -> Term:
    found = _QUALIFIED.match(word)
    return Term(found[1], found[2]) if found else Term("", word)


def _error(term: Term, known: Collection[str], *, values: bool) -> str:
    """Return what is wrong with a word; an empty text if nothing is."""
    word = f"{term.kind}:"
    if term.kind and term.kind not in known:
        words = gettext("There is no search word %(word)s here. Those that there are: %(known)s.")
        return words % {"word": one_line(word), "known": ", ".join(f"{each}:" for each in known)}
    if term.kind in _VALUES and not values:
        return gettext("%(word)s looks for values that your account may not see.") % {"word": word}
    if term.kind == "arg":
        name, equals, _value = term.value.partition("=")
        if not (name and equals):
            return gettext("arg: takes a name and a value, as in arg:order=42.")
        if is_secret(name):
            return gettext("arg:%(name)s is not searched: its values are hidden.") % {
                "name": one_line(name)
            }
    return ""


def part_of_id(term: Term) -> str | None:
    """Return the digits of a word that can only be an id or a part of one."""
    if term.kind not in ("", "id") or not _PART_OF_ID.match(term.value.casefold()):
        return None
    digits = term.value.casefold().replace("-", "")
    is_part = term.kind == "id" and SHORTEST_ID <= len(digits) <= ids.LENGTH
    return digits if is_part or len(digits) == ids.LENGTH else None


def values_of(given: str) -> list[str]:
    """Return the JSON texts that a value of ``arg:`` may stand for: a number, and a text."""
    texts = [json.dumps(given)]
    try:
        value = json.loads(given)
    except ValueError:
        return texts
    return texts if isinstance(value, (str, list, dict)) else [given.strip(), *texts]
