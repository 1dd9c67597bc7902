"""Indexes of those rows only that have a value, where the vendor can do that.

A row of `jobs` is written three times in its short life. An entry for each NULL, in an index that
no query needs NULLs, would cost more than the rest of the row. MySQL and MariaDB have no partial
indexes: they index every row, which is as correct.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.backends.ddl_references import Statement
from django.db.models import Index, Q

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.backends.base.schema import BaseDatabaseSchemaEditor
    from django.db.models import Model


NO_OPERATION = "DO 0"
"""MySQL's and MariaDB's: the schema editor has to be given a statement."""


class IndexOfValues(Index):
    """An index of the rows whose fields are not NULL."""

    def create_sql(
        self,
        model: type[Model],
        schema_editor: BaseDatabaseSchemaEditor,
        using: str = "",
        **kwargs: Any,
    ) -> Statement:
        """The statement for that vendor."""
        if not schema_editor.connection.features.supports_partial_indexes:
            return super().create_sql(model, schema_editor, using, **kwargs)
        partial = Index(fields=self.fields, name=self.name, condition=_have_values(self.fields))
        return partial.create_sql(model, schema_editor, using, **kwargs)


class PartialIndex(IndexOfValues):
    """The same; where the vendor cannot have it, there is no index."""

    def create_sql(
        self,
        model: type[Model],
        schema_editor: BaseDatabaseSchemaEditor,
        using: str = "",
        **kwargs: Any,
    ) -> Statement:
        """The statement for that vendor."""
        if not schema_editor.connection.features.supports_partial_indexes:
            return Statement(NO_OPERATION)
        return super().create_sql(model, schema_editor, using, **kwargs)

    def remove_sql(
        self, model: type[Model], schema_editor: BaseDatabaseSchemaEditor, **kwargs: Any
    ) -> str:
        """The statement for that vendor."""
        if not schema_editor.connection.features.supports_partial_indexes:
            return NO_OPERATION
        return super().remove_sql(model, schema_editor, **kwargs)


def _have_values(fields: Sequence[str]) -> Q:
    return Q(**{f"{field}__isnull": False for field in fields})
