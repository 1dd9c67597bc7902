"""Jobs as JSON lines, for other programs: selected ones, or all that match."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from django.http import StreamingHttpResponse

from djqueue.admin import audit
from djqueue.admin.verbs import stored
from djqueue.dispatch.connections import queues
from djqueue.drivers.slices import slices
from djqueue.errors import QueueError
from djqueue.management.output import json_line
from djqueue.operations import describe, failed_jobs
from djqueue.text.masking import masked_text

if TYPE_CHECKING:
    from django.db.models import Model
    from django.http import HttpRequest

    from djqueue.admin.bulk.matching import Matching
    from djqueue.admin.lists.selection import Key, Selection

    Lines = Iterator[Mapping[str, Any]]

__all__ = ["FAILED_JOBS", "JOBS", "Export", "each_of", "response"]

SLICE = 100
"""Jobs that are read at once."""
_PERMISSIONS = ("djqueue.view_payload", "djqueue.view_exception")


class Export(NamedTuple):
    """How the rows of a list are written. Secrets in them are masked."""

    file: str
    lines: Callable[[Selection], Lines]

    def allowed(self, request: HttpRequest) -> bool:
        """Return whether the user may see all that is written."""
        return request.user.has_perms(_PERMISSIONS)


def _jobs(selection: Selection) -> Lines:
    for target in stored.found(selection).values():
        for job in queues[target.connection].inspector.find([target.id]):
            yield describe.stored(target.connection, job)


def _failed_jobs(selection: Selection) -> Lines:
    rows = failed_jobs.table().using(selection.alias).filter(pk__in=selection.keys)
    for row in rows.order_by("pk"):
        yield describe.failed(row)


JOBS = Export("jobs.jsonl", _jobs)
FAILED_JOBS = Export("failed-jobs.jsonl", _failed_jobs)


def each_of(rows: Matching) -> Iterator[Sequence[Key]]:
    """Return the keys of all rows that match, slice by slice."""
    part = rows.next([], SLICE)
    while not part.ended:
        yield part.keys
        part = rows.next(rows.behind(part, ()), SLICE)
    yield part.keys


def response(
    request: HttpRequest,
    model: type[Model],
    export: Export,
    selection: Selection,
    every: Iterator[Sequence[Key]] | None = None,
) -> StreamingHttpResponse:
    """Return a file with the selected rows; with those of `every` slice where that is given."""
    count = "all" if every is not None else len(selection.keys)
    label = f"{count} {model._meta.verbose_name_plural}"
    audit.note(request, model, "export", label, dict(selection.place))
    some = slices(selection.keys, SLICE) if every is None else every
    answer = StreamingHttpResponse(
        _written(export, selection, some), content_type="application/x-ndjson"
    )
    answer["Content-Disposition"] = f'attachment; filename="{export.file}"'
    answer["X-Content-Type-Options"] = "nosniff"
    answer["Cache-Control"] = "no-store"
    return answer


def _written(
    export: Export, selection: Selection, every: Iterator[Sequence[Key]] | Sequence[Sequence[Key]]
) -> Iterator[str]:
    try:
        for keys in every:
            for each in export.lines(selection._replace(keys=keys)):
                yield json_line(each) + "\n"
    except QueueError as error:  # the file ends with the reason why it is not whole
        yield json_line({"error": masked_text(str(error))}) + "\n"
