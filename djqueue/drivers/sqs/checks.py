"""What a project should know about its SQS: settings that cannot work, and the banner."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from django.core import checks

from djqueue.drivers.sqs.client import LEAST_PATIENCE, Client, is_fifo
from djqueue.errors import QueueError

if TYPE_CHECKING:
    from djqueue.conf import ConnectionSettings

LARGEST = 1 << 20
LONGEST_LEASE = int(11.5 * 3600)
SHORT_LEASE = 16
"""Seconds; of less, an eighth is no time for a request that crosses a network and is repeated, and
too little for one that waits for a message."""
FEW_RECEIVES = 100
FORTNIGHT = 14 * 86400


def check(settings: ConnectionSettings) -> Iterator[checks.CheckMessage]:
    """Return messages about the keys of one connection."""
    where = settings.place
    if not 1 <= settings.retry_after <= LONGEST_LEASE:
        yield checks.Error(
            f'{where}["RETRY_AFTER"] is {settings.retry_after:g} seconds, and SQS hides a message '
            f"for 1 to {LONGEST_LEASE}.",
            hint="Choose a minute or two: it is renewed as long as the worker lives.",
            id="djqueue.E021",
        )
    elif settings.retry_after < SHORT_LEASE:
        yield checks.Warning(
            f'{where}["RETRY_AFTER"] is {settings.retry_after:g} seconds. A worker gives up a call '
            f"to SQS after {max(settings.retry_after / 8, LEAST_PATIENCE):g} s then, so that slow "
            "ones may cost it its jobs.",
            hint=f"Choose a minute or two, {SHORT_LEASE} at least: it is renewed as long as the "
            "worker lives, however long a job takes.",
            id="djqueue.W021",
        )
    urls = [settings.option("PREFIX"), *settings.option("URLS").values()]
    for url in filter(None, urls):
        if not str(url).startswith(("https://", "http://")):
            yield checks.Error(
                f'"{url}" in {where} is not a URL.',
                hint="PREFIX and URLS begin with https://, as SQS tells them: "
                "https://sqs.<region>.amazonaws.com/<account>.",
                id="djqueue.E022",
            )


def warnings(client: Client, queue: str) -> Iterator[str]:
    """Return what to say about one queue, as SQS has it."""
    try:
        url = client.url(queue)
        attributes = client.attributes(url)
    except QueueError as error:
        yield str(error)
        return
    yield from _redrive(queue, attributes)
    kept = int(attributes.get("MessageRetentionPeriod", FORTNIGHT))
    if kept < FORTNIGHT:
        yield (
            f"SQS drops what has been in {queue} for {kept / 86400:g} days without a notice. Set "
            f"its MessageRetentionPeriod to {FORTNIGHT} (14 days), the most there is."
        )
    if is_fifo(url) and attributes.get("FifoQueue") == "false":
        yield f"{queue} is called .fifo, and is not a FIFO queue."


def _redrive(queue: str, attributes: Mapping[str, str]) -> Iterator[str]:
    try:
        policy = json.loads(attributes.get("RedrivePolicy") or "{}")
        receives = int(policy.get("maxReceiveCount", 0))
    except (ValueError, AttributeError):
        return
    if 0 < receives < FEW_RECEIVES:
        yield (
            f"SQS moves a message of {queue} to {policy.get('deadLetterTargetArn')} when it has "
            f"been received {receives} times. Retries, interruptions and jobs that are handed back "
            "count too, and djqueue would never know what became of it: raise maxReceiveCount to "
            f"{FEW_RECEIVES} or more. Failed jobs are kept in the database anyway."
        )
