"""Django's backend, whose tables are emptied in a hundredth of the time between tests."""

from __future__ import annotations

from typing import Any

from django.db.backends.postgresql import base
from django.db.backends.postgresql.operations import DatabaseOperations as Operations


class DatabaseOperations(Operations):
    """TRUNCATE makes files anew, for each table and index; here the tables are small."""

    def sql_flush(
        self,
        style: Any,
        tables: Any,
        *,
        reset_sequences: bool = False,
        allow_cascade: bool = False,
    ) -> list[str]:
        if reset_sequences or allow_cascade:
            options = {"reset_sequences": reset_sequences, "allow_cascade": allow_cascade}
            return super().sql_flush(style, tables, **options)
        # In one transaction; Django's foreign keys are checked at its end.
        return [f"DELETE FROM {self.quote_name(table)}" for table in tables]


class DatabaseWrapper(base.DatabaseWrapper):
    ops_class = DatabaseOperations
