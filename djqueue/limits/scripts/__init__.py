"""The Lua scripts of limits in Redis, one a file; the header of each names its keys and arguments.

Times are microseconds of the server's clock, as are the scores of the sorted sets.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

__all__ = ["text_of"]


@lru_cache(maxsize=8)
def text_of(name: str) -> str:
    """The text of a script."""
    return files(__package__).joinpath(f"{name}.lua").read_text()
