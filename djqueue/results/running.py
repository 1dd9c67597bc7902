"""Results while their jobs run, and at the end."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from djqueue.conf import settings
from djqueue.errors import NotSerializable
from djqueue.finish.failed_rows import storable
from djqueue.payload.encryption import encrypted_value
from djqueue.payload.links import links_of, may_be_linked, read_links
from djqueue.results import rows
from djqueue.runner.decision import Action

if TYPE_CHECKING:
    from djqueue.drivers.base import OutgoingJob
    from djqueue.jobs.definition.spec import JobSpec
    from djqueue.runner.current import CurrentJob, Report
    from djqueue.runner.outcome import End, PassedOn

__all__ = ["KeepsResults", "Results"]

LARGEST = 1 << 20
"""Characters of JSON that a value may have. Larger data belongs in a storage."""


_OWNER = "owner of the result"


class KeepsResults:
    """A binding that gives jobs whose result is kept a way to say how far they have come."""

    def __init__(self, slot: Report | None = None) -> None:
        """`slot` takes what the job says in a child; elsewhere it is stored at once."""
        self._slot = slot

    def enter(self, job: CurrentJob, links: Mapping[str, Any]) -> None:
        """Let ``progress()`` be stored."""
        if read_links(links).result:
            at_once = self._slot is None
            job.report = (self._slot or partial(rows.report_now, job.id), at_once)
            if job.is_encrypted:
                job.kept[_OWNER] = rows.owner()

    def leave(self, job: CurrentJob, definition: JobSpec, value: Any) -> PassedOn:
        """Return what the job returned, in the form in which it is kept."""
        left = encoded(definition, value)
        if job.is_encrypted and "value" in left:
            chain = "" if job.chain is None else job.chain.id
            whose = {"kind": "value", "job": job.name, "id": job.id, "chain": chain}
            whose["owner"] = job.kept.get(_OWNER, "")
            return {"value": encrypted_value(left["value"], **whose)}
        if job.is_encrypted and left:
            return {"refused": f"{definition.name} returned something that cannot be stored."}
        return left


def encoded(definition: JobSpec, value: Any) -> PassedOn:
    """Return what a job returned, for those that follow it: as ``value``, or under ``refused`` the
    reason why it cannot be stored.
    """
    if value is None:
        return {}
    try:
        return {"value": definition.value_codec.encode(value, definition.name)}
    except NotSerializable as error:
        return {"refused": str(error)}


class Results:
    """The follower: the end of each job whose result is kept is written into its row."""

    only_bound = True

    def wants(self, end: End) -> bool:
        """Return whether it is the end of such a job."""
        payload = end.reservation.payload
        return may_be_linked(payload) and not end.outcome.repeats and links_of(payload).result

    def within(self, ends: Sequence[End], alias: str) -> list[tuple[str, OutgoingJob]]:
        """Write what they returned, or why they failed."""
        if settings().results is not None:
            rows.end(alias, {end.id: _content(end) for end in ends})
        return []


def _content(end: End) -> dict[str, Any]:
    """Return the columns that say how a job ended."""
    outcome, plain = end.outcome, end.plain
    text = ascii_text if plain else storable
    passed_on = outcome.passed_on
    content: dict[str, Any] = {"status": rows.DONE, "value": None, "error": None}
    if outcome.decision.action is Action.FAIL:
        content["status"] = rows.FAILED
        if outcome.error is not None:
            content["error"] = text(f"{outcome.error.class_name}: {outcome.error.message}")
    elif passed_on.get("cancelled"):
        content["status"] = rows.CANCELLED
    elif "value" in passed_on:
        value = json.dumps(passed_on["value"], separators=(",", ":"))
        if len(value) <= LARGEST:
            content["value"] = value
        else:
            content["error"] = _TOO_LARGE % (end.reservation.name, len(value), LARGEST)
    elif "refused" in passed_on:
        content["error"] = text(str(passed_on["refused"]))
    if "progress" in passed_on:
        content.update(zip(rows.PROGRESS, passed_on["progress"], strict=True))
    return content


_TOO_LARGE = (
    "What %s returned has %d characters of JSON; %d are kept. Save it with a storage, and return"
    " the file's name."
)


def ascii_text(text: str) -> str:
    """Return `text` in letters that every encoding has."""
    return text.encode("ascii", "backslashreplace").decode("ascii")
