"""What PostgreSQL should know about a table whose every row lives for milliseconds."""

from __future__ import annotations

from typing import Any

STATEMENTS = (
    # Room on each page for the two row versions that a job leaves behind.
    "ALTER TABLE jobs SET (fillfactor = 70,"
    # Vacuum after so many dead rows, however large the table is, and without pauses.
    " autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,"
    " autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0,"
    " autovacuum_analyze_threshold = 10000)",
    "ALTER TABLE djqueue_workers SET (fillfactor = 50)",
    # Used by COPY, which has no expressions of its own.
    "ALTER TABLE jobs ALTER COLUMN created_at SET DEFAULT statement_timestamp()",
    "ALTER TABLE jobs ALTER COLUMN available_at SET DEFAULT statement_timestamp()",
)


def tune(apps: Any, schema_editor: Any) -> None:
    """Set per-table storage parameters; nothing on other databases."""
    if schema_editor.connection.vendor == "postgresql":
        for statement in STATEMENTS:
            schema_editor.execute(statement)
