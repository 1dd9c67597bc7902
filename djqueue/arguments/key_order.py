"""Rows in the order of a list of keys, in SQL: it holds for first(), slices and values() too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.models import Expression, F, IntegerField

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models import Field
    from django.db.models.sql.compiler import SQLCompiler


class InOrderOfKeys(Expression):
    """The position of a row's key in `keys`, each a tuple with a value for each of `fields`.

    One CASE with the positions written out. Django's `Case` would take two parameters and three
    objects a key, which is slow for thousands, and more than some databases take.
    """

    def __init__(self, fields: Sequence[Field[Any, Any]], keys: Sequence[tuple[Any, ...]]) -> None:
        super().__init__(output_field=IntegerField())
        self.fields = fields
        self.keys = keys
        self.columns: list[Any] = [F(field.attname) for field in fields]

    def get_source_expressions(self) -> list[Any]:
        """The columns, for Django to resolve and relabel."""
        return self.columns

    def set_source_expressions(self, exprs: Sequence[Any]) -> None:
        """Take the columns as Django resolved them."""
        self.columns = list(exprs)

    def as_sql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> tuple[str, tuple[Any, ...]]:
        """The CASE and its parameters."""
        columns = [compiler.compile(column)[0] for column in self.columns]
        matches = " AND ".join(f"{column} = %s" for column in columns)
        cases = " ".join(f"WHEN {matches} THEN {place}" for place in range(len(self.keys)))
        values = tuple(
            field.get_db_prep_value(value, connection)
            for key in self.keys
            for field, value in zip(self.fields, key, strict=True)
        )
        return f"CASE {cases} END", values
