"""A paginator that stops counting."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.core.paginator import Paginator
from django.utils.formats import number_format

if TYPE_CHECKING:
    from django.db.models import QuerySet

CAP = 10_000


class CappedPaginator(Paginator):  # type: ignore[type-arg]  # not subscriptable at run time
    """Counts up to `CAP` rows, so that a page costs the same however long the queue is.

    What lies behind the last page is reached by a filter or the search.
    """

    object_list: QuerySet[Any]
    known: int | None = None
    """How many rows there are, up to one more than `CAP`, where that is known already."""

    @cached_property
    def _seen(self) -> int:
        if self.known is not None:
            return self.known
        # Only keys in the subquery: a count must not drag payloads through the database.
        return self.object_list.order_by().values("pk")[: CAP + 1].count()

    @cached_property
    def count(self) -> int:
        """Return the number of rows on the pages."""
        return min(self._seen, CAP)

    @property
    def is_capped(self) -> bool:
        """Return whether there are more rows than the pages show."""
        return self._seen > CAP

    @property
    def label(self) -> str:
        """Return the count to show, as in ``10,000+``."""
        number = number_format(self.count, use_l10n=True, force_grouping=True)
        return f"{number}+" if self.is_capped else number
