"""What no screen shows: values whose name says that they are secret."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

PATTERNS = ("*password*", "*token*", "*secret*", "authorization", "card*")
MASK = "••••••"


def is_secret(key: object) -> bool:
    """Whether a value of that name is masked. Case does not matter."""
    name = str(key).casefold()
    return any(fnmatchcase(name, pattern) for pattern in PATTERNS)


def masked(value: Any) -> Any:
    """A JSON value with every secret in it replaced, at any depth."""
    if isinstance(value, list):
        return [masked(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("$") == "dict" and isinstance(value.get("v"), list):
        # How arguments store a dict whose keys are not all plain texts: pairs.
        return {**value, "v": [_masked_pair(pair) for pair in value["v"]]}
    return {key: MASK if is_secret(key) else masked(item) for key, item in value.items()}


def _masked_pair(pair: Any) -> Any:
    if isinstance(pair, list) and len(pair) == 2 and is_secret(pair[0]):
        return [pair[0], MASK]
    return masked(pair)
