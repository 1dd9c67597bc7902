"""boto3's client of SQS, in batches of ten, with errors that say what to do."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
)

from djqueue.drivers.sqs import message, names
from djqueue.drivers.sqs.message import Message
from djqueue.errors import ConfigurationError, QueueUnavailable

if TYPE_CHECKING:
    from djqueue.conf import ConnectionSettings

BATCH = 10
TRIES = 3
"""Times that what a batch has refused for reasons of its own is sent."""
_PAUSE = 0.05
_UNSENT = (EndpointConnectionError, ConnectTimeoutError, NoCredentialsError, NoRegionError)
_OURS = ("NonExistentQueue", "QueueDoesNotExist", "AccessDenied", "InvalidClientTokenId")
"""Codes of errors that no waiting mends."""

Entry = dict[str, Any]


class Client:
    """SQS as one connection of the settings sees it."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self._name = settings.name
        self._option: Callable[[str], Any] = settings.option
        self._urls: dict[str, str] = {}

    @property
    def _boto(self) -> Any:
        option = self._option
        return _client(os.getpid(), option("REGION"), option("ENDPOINT_URL"), option("PROFILE"))

    def url(self, queue: str) -> str:
        """The URL of a queue; asked of SQS once where the settings do not tell."""
        if queue not in self._urls:
            option = self._option
            known = names.url_of(queue, option("PREFIX"), option("SUFFIX"), option("URLS"))
            if known is None:
                name = names.full_name(queue, option("SUFFIX"))
                known = str(self._call("get_queue_url", QueueName=name)["QueueUrl"])
            self._urls[queue] = known
        return self._urls[queue]

    # -- batches -------------------------------------------------------------------------------

    def send(self, url: str, entries: Sequence[Entry], most_bytes: int) -> list[tuple[Entry, str]]:
        """Send in batches; entries that SQS refused for good, with what it said about each."""
        refused: list[tuple[Entry, str]] = []
        for batch in _batches(entries, most_bytes):
            failed = self._in_batch("send_message_batch", url, batch)
            for attempt in range(1, TRIES):
                again = [entry for entry, reason in failed if not reason.sender]
                if not again:
                    break
                time.sleep(_PAUSE * attempt)
                refused += [(entry, str(reason)) for entry, reason in failed if reason.sender]
                failed = self._in_batch("send_message_batch", url, again)
            refused += [(entry, str(reason)) for entry, reason in failed]
        return refused

    def delete(self, url: str, receipts: Sequence[str]) -> None:
        """Delete messages. One that is not deleted is received again, and found to be over."""
        for some in _tens(receipts):
            self._in_batch("delete_message_batch", url, [{"ReceiptHandle": r} for r in some])

    def hide(self, url: str, receipts: Sequence[tuple[str, int]]) -> set[str]:
        """Let each message be received again after so many seconds; the receipts that failed."""
        failed: set[str] = set()
        for some in _tens(receipts):
            entries = [{"ReceiptHandle": r, "VisibilityTimeout": seconds} for r, seconds in some]
            answers = self._in_batch("change_message_visibility_batch", url, entries)
            failed |= {entry["ReceiptHandle"] for entry, _ in answers}
        return failed

    def _in_batch(
        self, operation: str, url: str, entries: Sequence[Entry]
    ) -> list[tuple[Entry, _Reason]]:
        numbered = [{**entry, "Id": str(number)} for number, entry in enumerate(entries)]
        answer = self._call(operation, QueueUrl=url, Entries=numbered)
        return [(entries[int(each["Id"])], _Reason(each)) for each in answer.get("Failed", ())]

    # -- single requests -----------------------------------------------------------------------

    def receive(self, url: str, limit: int, lease: int, wait: int) -> list[Message]:
        """Up to ten messages, hidden from others for `lease` seconds."""
        answer = self._call(
            "receive_message",
            QueueUrl=url,
            MaxNumberOfMessages=min(limit, BATCH),
            VisibilityTimeout=lease,
            WaitTimeSeconds=wait,
            MessageAttributeNames=[message.ATTRIBUTE],
            AttributeNames=["ApproximateReceiveCount", "MessageGroupId"],
        )
        return [message.decode(raw) for raw in answer.get("Messages", ())]

    def attributes(self, url: str) -> Mapping[str, str]:
        """All that SQS tells about a queue."""
        answer = self._call("get_queue_attributes", QueueUrl=url, AttributeNames=["All"])
        attributes: Mapping[str, str] = answer.get("Attributes", {})
        return attributes

    def _call(self, operation: str, **arguments: Any) -> Mapping[str, Any]:
        try:
            answer: Mapping[str, Any] = getattr(self._boto, operation)(**arguments)
        except ClientError as error:
            raise self._explained(error, arguments) from error
        except BotoCoreError as error:
            raise QueueUnavailable(
                f'SQS, connection "{self._name}", did not answer: {error}',
                ambiguous=not isinstance(error, _UNSENT),
            ) from error
        return answer

    def _explained(self, error: ClientError, arguments: Mapping[str, Any]) -> Exception:
        code = str(error.response.get("Error", {}).get("Code", ""))
        where = arguments.get("QueueUrl") or arguments.get("QueueName")
        if any(each in code for each in _OURS):
            return ConfigurationError(
                f'SQS, connection "{self._name}", refuses {where}: {error} Create the queue, or '
                "correct PREFIX, SUFFIX, URLS, REGION or the credentials and their policy."
            )
        return QueueUnavailable(
            f'SQS, connection "{self._name}", refused {where}: {error}', ambiguous=False
        )


class _Reason:
    """Why one entry of a batch failed."""

    def __init__(self, failed: Mapping[str, Any]) -> None:
        self.sender = bool(failed.get("SenderFault"))
        """It is the entry's own fault: sending it again does not help."""
        self._text = f"{failed.get('Code', '?')}: {failed.get('Message', '')}".strip()

    def __str__(self) -> str:
        return self._text


@lru_cache(maxsize=16)
def _client(process: int, region: str | None, endpoint: str | None, profile: str | None) -> Any:
    """One client a process: it may be used by several threads, and takes long to make."""
    session = boto3.session.Session(profile_name=profile, region_name=region)
    config = Config(
        connect_timeout=5,
        read_timeout=10,
        retries={"mode": "standard", "total_max_attempts": 3},
        tcp_keepalive=True,
    )
    try:
        return session.client("sqs", endpoint_url=endpoint, config=config)
    except BotoCoreError as error:
        raise ConfigurationError(
            f"boto3 cannot make a client of SQS: {error} Set REGION, or AWS_DEFAULT_REGION."
        ) from error


def _tens(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


def _batches(entries: Sequence[Entry], most_bytes: int) -> Iterator[list[Entry]]:
    """At most ten entries, and no more bytes than one message may have, in each."""
    batch: list[Entry] = []
    total = 0
    for entry in entries:
        size = message.size(entry)
        if batch and (len(batch) == BATCH or total + size > most_bytes):
            yield batch
            batch, total = [], 0
        batch.append(entry)
        total += size
    if batch:
        yield batch
