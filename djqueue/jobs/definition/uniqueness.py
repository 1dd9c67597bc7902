"""Unique and debounced jobs: the options that belong together, and the keys of both."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

from djqueue.drivers.types import LONGEST_KEY
from djqueue.errors import InvalidJob
from djqueue.payload.keyring import hidden_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from djqueue.jobs.definition.options import Options

__all__ = ["key_of_arguments", "key_of_id", "key_of_name", "refuse_contradictions"]

_DIGEST = 40
"""Hexadecimal digits."""


def refuse_contradictions(options: Options, where: str, *, has_id: bool) -> None:
    """Raise `InvalidJob`, with `where` in its message, for options that cannot be meant together.
    `has_id`: the class itself defines ``unique_id()``.
    """
    if not options.unique:
        needless = [name for name in ("unique_for", "unique_until_start") if getattr(options, name)]
        needless += ["unique_id()"] if has_id and options.debounce is None else []
        if needless:
            raise InvalidJob(
                f"{where}: {needless[0]} is for unique jobs, and this one is not. Add unique=True, "
                f"or drop {needless[0]}."
            )
    _refuse_debounce(options, where)
    if options.unique_until_start and options.atomic:
        raise InvalidJob(
            f"{where}: unique_until_start=True and atomic={options.atomic!r} cannot be combined: "
            "what is freed in the job's transaction is free when that commits, at the end. Drop "
            "one of them."
        )


def _refuse_debounce(options: Options, where: str) -> None:
    seconds, longest = options.debounce, options.max_wait
    if seconds is None:
        if longest is not None:
            raise InvalidJob(
                f"{where}: max_wait is for debounced jobs, and this one is not. Add debounce=, or "
                "drop max_wait."
            )
        return
    if options.unique:
        raise InvalidJob(
            f"{where}: debounce={seconds!r} and unique=True cannot be combined: of several "
            "dispatches the last one counts with debounce, and the first one with unique. Drop one "
            "of them."
        )
    if options.delay is not None:
        raise InvalidJob(
            f"{where}: debounce={seconds!r} and delay={options.delay!r} cannot be combined: "
            "debounce decides when the job runs. Drop one of them."
        )
    if longest is not None and longest < seconds:
        raise InvalidJob(
            f"{where}: max_wait={longest!r} is less than debounce={seconds!r}, so no job could "
            "wait for as long as debounce says. Make max_wait larger."
        )


def key_of_id(name: str, id: object, *, hides: bool = False) -> str:
    """Return the key of a job called `name` for what its ``unique_id()`` returned; with `hides` a
    digest of that. Raises `InvalidJob` for anything but a text, a whole number or a UUID.
    """
    if isinstance(id, bool) or not isinstance(id, (str, int, UUID)):
        shown = type(id).__name__ if hides else f"{id!r:.150}"
        raise InvalidJob(
            f"{name}.unique_id() returned {shown}, not a text, a whole number or a UUID. "
            "Nothing was queued."
        )
    return _bounded(name, hidden_key(str(id)) if hides else str(id))


def key_of_arguments(name: str, arguments: Mapping[str, Any], *, hides: bool = False) -> str:
    """Return the key of a job called `name` for its encoded arguments; with `hides` one from which
    they cannot be guessed without the keys.
    """
    text = json.dumps(arguments, sort_keys=True, separators=(",", ":"))
    return _bounded(name, hidden_key(text) if hides else _digest(text))


def key_of_name(name: str) -> str:
    """Return the one key of all jobs called `name`."""
    return _bounded(name)


def _bounded(name: str, *id: str) -> str:
    """Return a text that every store can keep, compare exactly, and show."""
    key = ":".join((name, *id))
    if len(key) <= LONGEST_KEY and key.isascii() and key.isprintable() and not key.endswith(" "):
        return key
    shown = name.encode("ascii", "replace").decode()[: LONGEST_KEY - _DIGEST - 1]
    return f"{shown}:{_digest(key)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:_DIGEST]
