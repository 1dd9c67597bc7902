"""Ordering rows by a list of keys, in SQL, so that first(), slices and values() follow it too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.models import Expression, F, IntegerField

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models import Field
    from django.db.models.sql.compiler import SQLCompiler

_HUNDRED = 100


class InOrderOfKeys(Expression):
    """The position of a row's key in `keys`, which are tuples with a value for each of `fields`.

    This is a CASE with the positions written out: Django's `Case` would need one more parameter and
    three more objects for each key. It is nested, a hundred keys at a time, because databases
    evaluate one WHEN after another for each row.
    """

    def __init__(self, fields: Sequence[Field[Any, Any]], keys: Sequence[tuple[Any, ...]]) -> None:
        super().__init__(output_field=IntegerField())
        self.fields = fields
        self.keys = keys
        self.columns: list[Any] = [F(field.attname) for field in fields]

    def get_source_expressions(self) -> list[Any]:
        """Return the columns, for Django to resolve and relabel."""
        return self.columns

    def set_source_expressions(self, exprs: Sequence[Any]) -> None:
        """Set the columns as Django resolved them."""
        self.columns = list(exprs)

    def as_sql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> tuple[str, tuple[Any, ...]]:
        """Return the CASE and its parameters."""
        columns = [compiler.compile(column)[0] for column in self.columns]
        matches = " AND ".join(f"{column} = %s" for column in columns)
        # A key of several columns would need row values in IN, which not every database has.
        step = _HUNDRED if len(columns) == 1 else max(len(self.keys), 1)
        cases: list[str] = []
        values: list[Any] = []
        for start in range(0, len(self.keys), step):
            chunk = self._values(self.keys[start : start + step], connection)
            places = range(start, min(start + step, len(self.keys)))
            case = f"CASE {' '.join(f'WHEN {matches} THEN {place}' for place in places)} END"
            if len(self.keys) <= step:
                return case, chunk
            cases.append(f"WHEN {columns[0]} IN ({', '.join(['%s'] * len(chunk))}) THEN {case}")
            values += chunk * 2
        return f"CASE {' '.join(cases)} END", tuple(values)

    def as_postgresql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> tuple[str, tuple[Any, ...]]:
        """Return a position in an array: PostgreSQL's JIT may compile a long CASE for seconds."""
        if len(self.columns) > 1:
            return self.as_sql(compiler, connection)
        column = compiler.compile(self.columns[0])[0]
        marks = ", ".join(["%s"] * len(self.keys))
        kind = self.fields[0].rel_db_type(connection)
        sql = f"array_position(ARRAY[{marks}]::{kind}[], {column})"
        return sql, self._values(self.keys, connection)

    def _values(
        self, keys: Sequence[tuple[Any, ...]], connection: BaseDatabaseWrapper
    ) -> tuple[Any, ...]:
        return tuple(
            field.get_db_prep_value(value, connection)
            for key in keys
            for field, value in zip(self.fields, key, strict=True)
        )
