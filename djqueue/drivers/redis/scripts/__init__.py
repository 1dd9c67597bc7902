"""The Lua scripts, one a file; the header of each names its keys and arguments. Not here: what the
keys hold (`djqueue.drivers.redis.keys`).
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from djqueue.drivers.redis.keys import Keys


class Script:
    """A script that the server knows by its digest, once it has seen its text."""

    def __init__(self, name: str) -> None:
        self.name = name

    @cached_property
    def text(self) -> bytes:
        """The script itself, behind the scripts that it uses."""
        own = _read(self.name)
        called = [_as_function(name) for name in self._names("CALLS")]
        return b"".join([*map(_read, self._names("USES")), *called, own])

    @cached_property
    def digest(self) -> bytes:
        """The name by which the server calls it."""
        return hashlib.sha1(self.text, usedforsecurity=False).hexdigest().encode()

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The names after ``KEYS`` in the script's header."""
        return tuple(self._names("KEYS"))

    def _names(self, heading: str) -> list[str]:
        """Return the names behind `heading` in the script's header."""
        lines = _read(self.name).decode().splitlines()
        return next((line for line in lines if line.startswith(f"-- {heading}")), "").split()[2:]

    def call(self, keys: Keys, more: Sequence[bytes] = ()) -> tuple[bytes | int, ...]:
        """Return the beginning of the command that runs it on these keys, and on `more` behind
        them, up to the arguments.
        """
        used = [getattr(keys, name) for name in self.keys]
        return (b"EVALSHA", self.digest, len(used) + len(more), *used, *more)


def _read(name: str) -> bytes:
    return files(__package__).joinpath(f"{name}.lua").read_bytes()


def _as_function(name: str) -> bytes:
    """Return a script as a function that another one calls with keys and arguments."""
    return b"local function %b(KEYS, ARGV)\n%b\nend\n" % (name.encode(), _read(name))


PUSH = Script("push")
PUSH_UNIQUE = Script("push_unique")
FREE_KEY = Script("free_key")
HELD_KEYS = Script("held_keys")
EXCHANGE = Script("exchange")
SETTLE = Script("settle")
EXTEND = Script("extend")
PROMOTE = Script("promote")
RECOVER = Script("recover")
RELEASE = Script("release")
REMOVE = Script("remove")
MAKE_DUE = Script("make_due")
CLEAR = Script("clear")
COUNTS = Script("counts")
FIND = Script("find")
PEEK = Script("peek")
