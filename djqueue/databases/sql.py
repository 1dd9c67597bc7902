"""Pieces of SQL that are put together by hand."""

from __future__ import annotations

from collections.abc import Sized


def marks(values: Sized) -> str:
    """The placeholders of `values`, for ``IN (…)``."""
    return ", ".join(["%s"] * len(values))
