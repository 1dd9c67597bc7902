"""Pieces of SQL that are put together by hand."""

from __future__ import annotations

from collections.abc import Sized
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


def marks(values: Sized) -> str:
    """The placeholders of `values`, for ``IN (…)``."""
    return ", ".join(["%s"] * len(values))


def encode_uuid(connection: BaseDatabaseWrapper, id: str) -> str:
    """How the database of `connection` stores a uuid."""
    return id if connection.features.has_native_uuid_field else id.replace("-", "")
