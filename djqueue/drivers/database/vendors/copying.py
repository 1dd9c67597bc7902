"""Jobs as PostgreSQL's COPY reads them."""

from __future__ import annotations

from collections.abc import Sequence

from djqueue.drivers.base import OutgoingJob


def lines(jobs: Sequence[OutgoingJob]) -> str:
    """Return rows in COPY's text format; at the end, where the first job has one, the id of a batch
    and that of a push.
    """
    first = jobs[0]
    more = bool(first.batch) + bool(first.push_id)
    line, tabs = (_longer_line if more else _line), 9 + more
    text = "".join(map(line, jobs))
    # A payload is JSON on one line: there is nothing to escape but backslashes, hardly ever.
    if text.count("\t") == tabs * len(jobs) and text.count("\n") == len(jobs) and "\r" not in text:
        return text.replace("\\", "\\\\")
    return "".join(
        line(
            job._replace(
                queue=_escape(job.queue), name=_escape(job.name), payload=_escape(job.payload)
            )
        )
        for job in jobs
    )


def _line(job: OutgoingJob) -> str:
    id, queue, name, payload, _, priority, *_ = job
    return f"{queue}\t{name}\t{payload}\t{id}\t{priority}\t{-priority}\t0\t0\t0\t\n"


def _longer_line(job: OutgoingJob) -> str:
    more = "\t".join(filter(None, (job.batch, job.push_id)))
    return f"{_line(job)[:-1]}\t{more}\n"


def _escape(text: str) -> str:
    return text.translate(_ESCAPES)


_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"})
