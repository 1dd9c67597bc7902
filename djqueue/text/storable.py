"""Text as databases take it."""

from __future__ import annotations

import re

from djqueue.text.printable import json_escape

_NOT_ASCII = re.compile(r"[^\x01-\x7f]")


def storable(text: str) -> str:
    """`text` as every database with UTF-8 takes it: what is no character is spelled out."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")


def ascii_only(text: str) -> str:
    """`text` as a database of any encoding takes it. JSON means the same as before."""
    return _NOT_ASCII.sub(lambda found: json_escape(found[0]), text)
