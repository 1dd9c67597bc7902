"""What a job is in SQS: the payload as the body, and one attribute that says what it is.

The attribute ``djqueue`` holds ``1 <uuid> <priority> <coding> <name>``. SQS takes characters that
XML has, and no empty body: any other payload is sent as base64. A message without the attribute
was sent by another program: it comes back as a job without a name, and ends among the failed jobs.
"""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from djqueue.drivers.base import OutgoingJob

ATTRIBUTE = "djqueue"
ROOM = 2048
"""Bytes of a message that the attribute may take."""

_PLAIN, _BASE64 = "t", "b"
_REFUSED = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_FOREIGN = uuid.UUID("8a5a4c0e-6d0c-5b5e-9d5b-2f5f0f6a9c1d")
"""The namespace of ids that are made for messages without one."""


class Message(NamedTuple):
    """A received message, read."""

    message: str
    """SQS's own id, the same each time it is received."""
    receipt: str
    id: str
    name: str
    payload: str
    priority: int
    group: str | None
    receives: int


def encode(job: OutgoingJob) -> dict[str, Any]:
    """Body and attributes to send."""
    coding, text = _PLAIN, job.payload
    if not text or _REFUSED.search(text):
        coding = _BASE64
        text = base64.b64encode(text.encode("utf-8", "surrogateescape")).decode("ascii")
    told = f"1 {job.id} {job.priority} {coding} {_quoted(job.name)}"
    return {
        "MessageBody": text or " ",
        "MessageAttributes": {ATTRIBUTE: {"DataType": "String", "StringValue": told}},
    }


def size(entry: Mapping[str, Any]) -> int:
    """The bytes that SQS counts."""
    told = entry["MessageAttributes"][ATTRIBUTE]["StringValue"]
    return len(entry["MessageBody"].encode()) + len(told) + len(ATTRIBUTE) + len("String")


def decode(raw: Mapping[str, Any]) -> Message:
    """Read a message as boto3 gives it. Never fails."""
    text, system = raw["Body"], raw.get("Attributes", {})
    id, name, priority, payload = _read(raw, text) or (
        str(uuid.uuid5(_FOREIGN, raw["MessageId"])),
        "",
        0,
        text,
    )
    return Message(
        raw["MessageId"],
        raw["ReceiptHandle"],
        id,
        name,
        payload,
        priority,
        system.get("MessageGroupId"),
        int(system.get("ApproximateReceiveCount", 1)),
    )


def _read(raw: Mapping[str, Any], text: str) -> tuple[str, str, int, str] | None:
    told = raw.get("MessageAttributes", {}).get(ATTRIBUTE, {}).get("StringValue", "")
    words = told.split(" ")
    if len(words) != 5 or words[0] != "1" or len(words[1]) != 36:
        return None
    _, id, priority, coding, name = words
    try:
        if coding == _BASE64:
            data = base64.b64decode(text.strip(), validate=True)
            text = data.decode("utf-8", "surrogateescape")
        return id, _unquoted(name), int(priority), text
    except (ValueError, binascii.Error):
        return None


@lru_cache(maxsize=1024)
def _quoted(name: str) -> str:
    return quote(name, safe="") or "%"


@lru_cache(maxsize=1024)
def _unquoted(name: str) -> str:
    return "" if name == "%" else unquote(name)
