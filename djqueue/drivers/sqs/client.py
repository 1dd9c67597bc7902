"""boto3's client of SQS, in batches of ten, with errors that say what to do."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
)

from djqueue.drivers.slices import slices
from djqueue.drivers.sqs import message
from djqueue.drivers.sqs.message import Message
from djqueue.drivers.sqs.pushing import Entry, Sent
from djqueue.errors import ConfigurationError, QueueError, QueueUnavailable

if TYPE_CHECKING:
    from djqueue.conf import ConnectionSettings

BATCH = 10
FIFO = ".fifo"
TRIES = 3
"""Times that a request is sent, and what a batch has refused for reasons of its own."""
CONNECT, READ = 5.0, 10.0
"""Seconds that an attempt may wait where no patience is set."""
LEAST_PATIENCE = 0.5
"""Seconds that a request is given at least."""
_PAUSE = 0.05
_UNSENT = (
    EndpointConnectionError,
    ConnectTimeoutError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
)
_OURS = ("NonExistentQueue", "QueueDoesNotExist", "AccessDenied", "InvalidClientTokenId")
"""Codes of errors that waiting does not cure."""
_CONTENT = (
    "BatchRequestTooLong",
    "InvalidAttributeValue",
    "InvalidMessageContents",
    "InvalidParameter",
    "MissingParameter",
    "RequestTooLarge",
    "RequestEntityTooLarge",
    "UnsupportedOperation",
)
"""Codes of errors about what was sent: one job of a batch can be the reason for all of it."""
_BUSY = ("Throttl", "RequestLimitExceeded", "SlowDown")
_HANDLED_NOTHING = 503


T = TypeVar("T")


class QueueRefused(QueueUnavailable):
    """SQS refuses one queue, which it has served before; other queues may be well."""


class ContentRefused(QueueUnavailable):
    """SQS refuses what was sent."""


class Client:
    """SQS as one connection of the settings sees it."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self._name = settings.name
        self.queue = settings.queue
        """The configured queue."""
        self._option: Callable[[str], Any] = settings.option
        self._urls: dict[str, str] = {}
        self._served: set[str] = set()
        """Queues that have answered."""
        self.patience: float | None = None
        """As `Driver.patience`."""
        self._until = math.inf

    @property
    def _boto(self) -> Any:
        option, patience = self._option, self.patience
        times = (CONNECT, READ)
        if patience is not None:
            patience = round(max(patience, LEAST_PATIENCE), 1)
            times = (min(CONNECT, patience), min(READ, patience))
        place = (option("REGION"), option("ENDPOINT_URL"), option("PROFILE"))
        return _client(os.getpid(), *place, *times)

    @contextmanager
    def patiently(self) -> Iterator[None]:
        """Let the requests in this block together wait no longer than one of them may: none is
        begun when the time has run out.
        """
        if self.patience is not None:
            self._until = time.monotonic() + max(self.patience, LEAST_PATIENCE)
        try:
            yield
        finally:
            self._until = math.inf

    def may_wait(self, seconds: float) -> bool:
        """Return whether SQS may keep a request for this many seconds until it has something to
        return.
        """
        return self.patience is None or self.patience > 2 * seconds

    def url(self, queue: str) -> str:
        """Return the URL of a queue. SQS is asked once if the settings do not say."""
        if queue not in self._urls:
            option = self._option
            known = url_of(queue, option("PREFIX"), option("SUFFIX"), option("URLS"))
            if known is None:
                name = full_name(queue, option("SUFFIX"))
                known = str(self._call("get_queue_url", QueueName=name)["QueueUrl"])
            self._urls[queue] = known
        return self._urls[queue]

    # -- batches -------------------------------------------------------------------------------

    def send(self, url: str, entries: Sequence[Entry], most_bytes: int, sent: Sent) -> None:
        """Send in batches, and note the result of each entry in `sent`."""
        for batch in _batches(entries, most_bytes):
            if sent.away:
                return
            try:
                self._send(url, batch, sent)
            except (QueueRefused, ConfigurationError) as error:
                sent.broke(error, away=False)
                return
            except QueueUnavailable as error:
                sent.broke(error, away=True)

    def _send(self, url: str, batch: Sequence[Entry], sent: Sent) -> None:
        for attempt in range(TRIES):
            try:
                failed = self._in_batch("send_message_batch", url, [e.fields for e in batch])
            except ContentRefused as error:
                if len(batch) == 1:
                    sent.refused[batch[0].id] = str(error)
                else:  # one of them is the reason
                    for entry in batch:
                        self._send(url, [entry], sent)
                return
            sent.stored.update(e.id for at, e in enumerate(batch) if at not in failed)
            sent.refused.update({batch[at].id: str(r) for at, r in failed.items() if r.sender})
            left = [(batch[at], reason) for at, reason in failed.items() if not reason.sender]
            if not left:
                return
            if attempt + 1 < TRIES:
                time.sleep(_PAUSE * (attempt + 1))
            batch = [entry for entry, _ in left]
        for entry, reason in left:
            sent.failed(entry, str(reason))

    def delete(self, url: str, receipts: Sequence[str]) -> None:
        """Delete messages. One that is not deleted is received again, and found to have ended."""
        for some in slices(receipts, BATCH):
            self._in_batch("delete_message_batch", url, [{"ReceiptHandle": r} for r in some])

    def hide(self, url: str, receipts: Sequence[tuple[str, int]]) -> set[str]:
        """Let each message be received again after `seconds`. Return the receipts that failed."""
        failed: set[str] = set()
        for some in slices(receipts, BATCH):
            entries = [{"ReceiptHandle": r, "VisibilityTimeout": seconds} for r, seconds in some]
            answers = self._in_batch("change_message_visibility_batch", url, entries)
            failed |= {some[at][0] for at in answers}
        return failed

    def _in_batch(
        self, operation: str, url: str, entries: Sequence[Mapping[str, Any]]
    ) -> dict[int, _Reason]:
        """Return why entries failed, by their places."""
        numbered = [{**entry, "Id": str(number)} for number, entry in enumerate(entries)]
        answer = self._call(operation, QueueUrl=url, Entries=numbered)
        return {int(each["Id"]): _Reason(each) for each in answer.get("Failed", ())}

    # -- single requests -----------------------------------------------------------------------

    def receive(self, queue: str, limit: int, lease: int, wait: int) -> list[Message]:
        """Return up to ten messages, hidden from others for `lease` seconds."""
        url = self.url(queue)
        answer = self._call(
            "receive_message",
            QueueUrl=url,
            MaxNumberOfMessages=min(limit, BATCH),
            VisibilityTimeout=lease,
            WaitTimeSeconds=wait,
            MessageAttributeNames=[message.ATTRIBUTE],
            AttributeNames=["MessageGroupId"],
        )
        now = time.monotonic()
        return [message.decode(raw, queue, url, now) for raw in answer.get("Messages", ())]

    def attributes(self, url: str) -> Mapping[str, str]:
        """Return all that SQS tells about a queue."""
        answer = self._call("get_queue_attributes", QueueUrl=url, AttributeNames=["All"])
        attributes: Mapping[str, str] = answer.get("Attributes", {})
        return attributes

    def _call(self, operation: str, **arguments: Any) -> Mapping[str, Any]:
        where = str(arguments.get("QueueUrl") or arguments.get("QueueName"))
        unsure = False
        for attempt in range(TRIES):
            if time.monotonic() >= self._until:
                raise QueueUnavailable(
                    f'SQS, connection "{self._name}", is too slow.', ambiguous=unsure
                )
            try:
                answer: Mapping[str, Any] = getattr(self._boto, operation)(**arguments)
            except (ClientError, BotoCoreError) as error:
                explained = self._explained(error, where)
                if isinstance(explained, QueueUnavailable):
                    explained.ambiguous = unsure = unsure or explained.ambiguous
                if attempt + 1 == TRIES or not self._passes(error):
                    raise explained from error
                time.sleep(_PAUSE * 2**attempt)
            else:
                self._served.add(where)
                return answer
        raise AssertionError("unreachable")

    def _passes(self, error: Exception) -> bool:
        """Return whether to try again at once. A worker does so by itself, when it has looked after
        the rest; except for a connection that the server has closed while it was idle.
        """
        if self.patience is not None:
            return isinstance(error, ConnectionClosedError)
        if isinstance(error, ClientError):
            return _status(error) >= 500 or any(each in _code(error) for each in _BUSY)
        return isinstance(error, HTTPClientError)

    def _explained(self, error: Exception, where: str) -> QueueError:
        code = _code(error)
        name = f'SQS, connection "{self._name}",'
        if any(each in code for each in _OURS):
            text = (
                f"{name} refuses {where}: {error} Create the queue, or correct PREFIX, SUFFIX, "
                "URLS, REGION or the credentials and their policy."
            )
            # A queue that was there may come back, and a permission too: workers wait for it.
            known = where in self._served
            return QueueRefused(text, ambiguous=False) if known else ConfigurationError(text)
        if isinstance(error, ParamValidationError) or any(each in code for each in _CONTENT):
            return ContentRefused(f"{name} refused {where}: {error}", ambiguous=False)
        if isinstance(error, ClientError):
            unsure = _status(error) >= 500 and _status(error) != _HANDLED_NOTHING
            return QueueUnavailable(f"{name} refused {where}: {error}", ambiguous=unsure)
        return QueueUnavailable(
            f"{name} did not answer: {error}", ambiguous=not isinstance(error, _UNSENT)
        )


def _code(error: Exception) -> str:
    known = error.response.get("Error", {}) if isinstance(error, ClientError) else {}
    return str(known.get("Code", ""))


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


class _Reason:
    """Why one entry of a batch failed."""

    def __init__(self, failed: Mapping[str, Any]) -> None:
        self.sender = bool(failed.get("SenderFault"))
        """It is the entry's own fault: sending it again does not help."""
        self._text = f"{failed.get('Code', '?')}: {failed.get('Message', '')}".strip()

    def __str__(self) -> str:
        return self._text


_MAKING = threading.Lock()
"""A session makes clients for one thread at a time."""


@lru_cache(maxsize=4)
def _session(process: int, region: str | None, profile: str | None) -> Any:
    """Return the session that the clients share: it takes a quarter of a second to load, and then
    no time.
    """
    return boto3.session.Session(profile_name=profile, region_name=region)


@lru_cache(maxsize=16)
def _client(
    process: int,
    region: str | None,
    endpoint: str | None,
    profile: str | None,
    connect: float,
    read: float,
) -> Any:
    """Return the client of this process, which several threads may use."""
    config = Config(
        connect_timeout=connect,
        read_timeout=read,
        # Its own tries would hide whether the first one was answered.
        retries={"mode": "standard", "total_max_attempts": 1},
        tcp_keepalive=True,
    )
    try:
        with _MAKING:
            session = _session(process, region, profile)
            return session.client("sqs", endpoint_url=endpoint, config=config)
    except BotoCoreError as error:
        raise ConfigurationError(
            f"boto3 cannot make a client of SQS: {error} Set REGION, or AWS_DEFAULT_REGION."
        ) from error


def _batches(entries: Sequence[Entry], most_bytes: int) -> Iterator[list[Entry]]:
    """Return batches of at most ten entries, and of no more bytes than one message may have."""
    batch: list[Entry] = []
    total = 0
    for entry in entries:
        size = entry.size
        if batch and (len(batch) == BATCH or total + size > most_bytes):
            yield batch
            batch, total = [], 0
        batch.append(entry)
        total += size
    if batch:
        yield batch


def is_fifo(name_or_url: str) -> bool:
    """Return whether that is a FIFO queue: SQS says so in the name."""
    return name_or_url.endswith(FIFO)


def full_name(queue: str, suffix: str) -> str:
    """Return the name in SQS: with the suffix, once, before ``.fifo``. A dot becomes a hyphen
    there.
    """
    fifo = FIFO if is_fifo(queue) else ""
    name = queue.removesuffix(FIFO).replace(".", "-")
    return name.removesuffix(suffix) + suffix + fifo


def url_of(queue: str, prefix: str, suffix: str, urls: Mapping[str, str]) -> str | None:
    """Return the URL of a queue, or None if SQS has to be asked."""
    if queue in urls:
        return urls[queue]
    return f"{prefix.rstrip('/')}/{full_name(queue, suffix)}" if prefix else None
