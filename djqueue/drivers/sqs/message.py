"""What a job is in SQS: the payload as the body, and one attribute that says what it is.

The attribute ``djqueue`` holds ``1 <uuid> <priority> <coding> <name>``, and the id of the push
where that is not the job's first. SQS takes characters that XML has, and no empty body: any other
payload is sent as base64. A message without such an attribute was sent by another program: it comes
back under a name that says so, and ends among the failed jobs.
"""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

from djqueue.drivers.guard.quoting import quoted, unquoted
from djqueue.drivers.types import FOREIGN, OutgoingJob

ATTRIBUTE = "djqueue"
ROOM = 2048
"""Bytes of a message that the attribute may take."""

LONGEST_NAME, MOST_URGENT = 255, 100
"""What a job of ours may have."""

_PLAIN, _BASE64 = "t", "b"
_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_OURS = re.compile(f"1 ({_UUID}) (-?[0-9]{{1,3}}) ([tb]) ([!-~]+)(?: ({_UUID}))?", re.ASCII)
_REFUSED = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_FOREIGN = uuid.UUID("8a5a4c0e-6d0c-5b5e-9d5b-2f5f0f6a9c1d")
"""The namespace of ids that are made for messages without one."""


class Message(NamedTuple):
    """A received message, read."""

    key: str
    """SQS's own id, the same each time it is received."""
    receipt: str
    id: str
    name: str
    payload: str
    priority: int
    group: str | None
    push_id: str = ""
    """See `OutgoingJob.push_id`."""
    queue: str = ""
    url: str = ""
    """Of its queue in SQS."""
    received: float = 0.0
    """When, on this machine's monotonic clock."""

    def another(self, delay: float, number: int) -> OutgoingJob:
        """Return the same push of the job, to be sent once more by the reservation with that
        number.
        """
        return OutgoingJob(
            self.id,
            self.queue,
            self.name,
            self.payload,
            delay,
            self.priority,
            self.group,
            # SQS drops a message that has the deduplication id of an earlier one.
            f"{self.push_id or self.id}-{number}",
            self.push_id,
        )


def encode(job: OutgoingJob) -> dict[str, Any]:
    """Return body and attributes to send."""
    coding, text = _PLAIN, job.payload
    if not text or _REFUSED.search(text):
        coding = _BASE64
        text = base64.b64encode(text.encode("utf-8", "surrogateescape")).decode("ascii")
    attribute = f"1 {job.id} {job.priority} {coding} {quoted(job.name)}"
    if job.push_name != job.id:
        attribute += f" {job.push_id}"
    return {
        "MessageBody": text or " ",
        "MessageAttributes": {ATTRIBUTE: {"DataType": "String", "StringValue": attribute}},
    }


def size(entry: Mapping[str, Any]) -> int:
    """The bytes that SQS counts."""
    attribute = entry["MessageAttributes"][ATTRIBUTE]["StringValue"]
    return len(entry["MessageBody"].encode()) + len(attribute) + len(ATTRIBUTE) + len("String")


def decode(raw: Mapping[str, Any], queue: str, url: str, received: float) -> Message:
    """Read a message as boto3 gives it. Never fails."""
    key, receipt = raw["MessageId"], raw["ReceiptHandle"]
    group = raw.get("Attributes", {}).get("MessageGroupId")
    ours = _read(raw)
    if ours is None:
        id = str(uuid.uuid5(_FOREIGN, key))
        ours = id, FOREIGN, raw["Body"], 0, ""
    id, name, payload, priority, push = ours
    return Message(key, receipt, id, name, payload, priority, group, push, queue, url, received)


def _read(raw: Mapping[str, Any]) -> tuple[str, str, str, int, str] | None:
    """Return what the attribute says, if it is one of ours: all of it must fit in a guard row."""
    attribute = raw.get("MessageAttributes", {}).get(ATTRIBUTE, {}).get("StringValue", "")
    match = _OURS.fullmatch(attribute)
    if match is None:
        return None
    id, priority, coding, word, push = match.groups()
    name, text = unquoted(word), raw["Body"]
    if len(name) > LONGEST_NAME or "\0" in name or abs(int(priority)) > MOST_URGENT:
        return None
    if coding == _BASE64:
        try:
            data = base64.b64decode(text.strip(), validate=True)
        except ValueError:  # binascii's too
            return None
        text = data.decode("utf-8", "surrogateescape")
    return id, name or FOREIGN, text, int(priority), push or ""
