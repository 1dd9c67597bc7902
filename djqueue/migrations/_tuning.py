"""What the tables need that models cannot say for one vendor alone."""

from __future__ import annotations

from typing import Any

STATEMENTS = (
    # Rows live for milliseconds. Room on each page for the two versions that a job leaves behind.
    "ALTER TABLE jobs SET (fillfactor = 70,"
    # Vacuum after so many dead rows, however large the table is, and without pauses.
    " autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,"
    " autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0,"
    " autovacuum_analyze_threshold = 10000)",
    "ALTER TABLE djqueue_workers SET (fillfactor = 50)",
    # Each row is written again and again, and there are few of them.
    "ALTER TABLE djqueue_slots SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0,"
    " autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0)",
    # A row is written again for each progress, and at the end.
    "ALTER TABLE djqueue_results SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0,"
    " autovacuum_vacuum_threshold = 10000)",
    # Used by COPY, which has no expressions of its own.
    "ALTER TABLE jobs ALTER COLUMN created_at SET DEFAULT statement_timestamp()",
    "ALTER TABLE jobs ALTER COLUMN available_at SET DEFAULT statement_timestamp()",
)

EXACT = {
    "QueuedJob": ("queue",),
    "FailedJob": ("connection", "queue"),
    "Worker": ("connection",),
    "Control": ("scope",),
    "Outbox": ("connection", "queue"),
    "Payload": ("connection",),
    "Slot": ("name",),
    "Key": ("key", "connection", "queue"),
    "Debounced": ("key",),
    "JobResult": ("connection", "queue"),
    "Incident": ("key",),
    "FinishedJob": ("connection", "queue", "name"),
    "Minute": ("connection", "queue", "name"),
}
"""Columns that MySQL and MariaDB are to compare letter by letter: by themselves they take two names
that differ only in case for one. A migration that changes one of these says so again."""


def tune(apps: Any, schema_editor: Any) -> None:
    """Set per-table storage parameters on PostgreSQL, and collations on MySQL and MariaDB."""
    vendor = schema_editor.connection.vendor
    if vendor == "postgresql":
        for statement in STATEMENTS:
            schema_editor.execute(statement)
    elif vendor == "mysql":
        for name, fields in EXACT.items():
            _compare_exactly(apps.get_model("djqueue", name), fields, schema_editor)


def _compare_exactly(model: Any, fields: tuple[str, ...], schema_editor: Any) -> None:
    quote = schema_editor.quote_name
    changes = [
        f"MODIFY {quote(field.column)} {field.db_type(schema_editor.connection)}"
        " CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL"
        for field in map(model._meta.get_field, fields)
    ]
    schema_editor.execute(f"ALTER TABLE {quote(model._meta.db_table)} {', '.join(changes)}")
