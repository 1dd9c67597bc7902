"""Options that several commands have, and what their texts mean."""

from __future__ import annotations

import argparse
import math
import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from djqueue.drivers.base import State
from djqueue.operations.failed_jobs import Selection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.core.management.base import CommandParser

__all__ = [
    "AN_ID",
    "USAGE",
    "add_failed_filters",
    "add_force",
    "add_ids",
    "add_json",
    "add_limit",
    "add_state",
    "duration",
    "failed_selection",
    "group",
    "limit_of",
    "moment_ago",
    "pace",
    "queue_names",
    "row_range",
    "seconds_ahead",
]

USAGE = 2
"""The exit code for wrong usage, and for a question without a terminal."""

AN_ID = "an id, or at least six characters of its end or beginning"
"""The help of every argument that is an id."""

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw]?)\Z")
_GROUP = re.compile(r"[0-9a-f]{6,40}\Z")
_RANGE = re.compile(r"(\d+)-(\d+)\Z")


def duration(text: str) -> float:
    """Seconds: ``90``, ``90s``, ``30m``, ``12h``, ``7d``, ``2w``."""
    found = _DURATION.match(text.strip().lower())
    if found is None or not math.isfinite(float(found[1])):
        raise argparse.ArgumentTypeError(
            f'"{text}" is not a duration: write seconds, or a number with s, m, h, d or w, as in '
            "30m."
        )
    return float(found[1]) * _UNITS[found[2]]


def moment_ago(text: str) -> datetime:
    """A moment: a duration back from now, or a date and time."""
    try:
        found = parse_datetime(text)
    except ValueError:
        found = None
    if found is not None:
        return timezone.make_aware(found) if timezone.is_naive(found) else found
    return timezone.now() - timedelta(seconds=duration(text))


def seconds_ahead(text: str) -> float:
    """Seconds from now: ``now``, a duration, or a date and time."""
    if text.strip().lower() == "now":
        return 0.0
    try:
        found = parse_datetime(text)
    except ValueError:
        found = None
    if found is None:
        return duration(text)
    moment = timezone.make_aware(found) if timezone.is_naive(found) else found
    return max((moment - timezone.now()).total_seconds(), 0.0)


def pace(text: str) -> float:
    """A rate as in ``10/s``, ``100/m``, ``600/h``, as seconds between two of them; a duration over
    which all are spread, as in ``10m``, as a negative number.
    """
    number, slash, unit = text.partition("/")
    if not slash:
        return -duration(text)
    try:
        rate = float(number)
    except ValueError:
        rate = 0.0
    seconds = _UNITS.get(unit.strip() or "?", 0)
    if not (rate > 0 and math.isfinite(rate) and seconds):
        raise argparse.ArgumentTypeError(
            f'"{text}" is not a rate: write a number a second, minute or hour, as in 10/s, or a '
            "duration over which all are spread, as in 10m."
        )
    return seconds / rate


def row_range(text: str) -> tuple[int, int]:
    """The first and the last row number: ``5-90``."""
    found = _RANGE.match(text.strip())
    if found is None or int(found[1]) > int(found[2]):
        raise argparse.ArgumentTypeError(
            f'"{text}" is not a range of row numbers: write the first and the last, as in 5-90. '
            "Row numbers are those of queue_failed, not ids."
        )
    return int(found[1]), int(found[2])


def queue_names(text: str | None) -> list[str]:
    """The queues of ``--queue high,default``; none where the option is not given."""
    if text is None:
        return []
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        what = "is empty" if not text.strip() else f'has an empty name in it: "{text}"'
        raise CommandError(
            f"--queue {what}. Name queues, as in high,default, or leave the option out.",
            returncode=USAGE,
        )
    return list(dict.fromkeys(names))


def add_ids(parser: CommandParser, *, where: bool = True) -> None:
    """Ids of stored jobs; with `where` also ``--connection``, to look there only."""
    parser.add_argument("ids", nargs="+", metavar="ID", help=AN_ID)
    if where:
        parser.add_argument("--connection", help="look there only (default: every connection)")


def add_state(parser: CommandParser, what: str) -> None:
    """``--state``; `what` says which jobs it leaves."""
    parser.add_argument("--state", choices=[state.value for state in State], help=what)


def add_json(parser: CommandParser) -> None:
    """``--json``."""
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def add_force(parser: CommandParser, *, dry_run: bool = True) -> None:
    """``--force`` and ``--dry-run``."""
    parser.add_argument("--force", "--no-input", action="store_true", help="do not ask first")
    if dry_run:
        parser.add_argument("--dry-run", action="store_true", help="say what would be done")


def add_limit(parser: CommandParser) -> None:
    """``--limit``."""
    parser.add_argument(
        "--limit", type=int, default=50, help="show at most this many; 0: all (default: 50)"
    )


def limit_of(options: Mapping[str, Any]) -> int | None:
    """One more than is to be shown, so that a rest can be reported; None for all."""
    limit = options["limit"]
    if limit < 0:
        raise CommandError("--limit is a number of jobs, or 0 for all.", returncode=USAGE)
    return limit + 1 if limit else None


def group(text: str) -> str:
    """A group of failed jobs, or at least six characters of its beginning."""
    if _GROUP.match(text.lower()) is None:
        raise argparse.ArgumentTypeError(
            f'"{text}" is no group: it has 6 to 40 of the digits 0-9 and a-f. They are listed by '
            "queue_failed --groups."
        )
    return text.lower()


def add_failed_filters(parser: CommandParser, *, rows: bool = False) -> None:
    """``--queue --name --since --group``, and ``--range`` with `rows`."""
    parser.add_argument("--queue", help="only those of this queue")
    parser.add_argument("--name", help="only this job, by its stored name, as in shop.SendReceipt")
    parser.add_argument(
        "--since",
        type=moment_ago,
        help="only those that failed in the last 90s, 30m, 12h, 7d, or since a date and time",
    )
    parser.add_argument(
        "--group",
        type=group,
        help="only failures of this group, as queue_failed --groups names it",
    )
    if rows:
        parser.add_argument("--range", type=row_range, help="row numbers, as in 5-90")


def failed_selection(options: Mapping[str, Any]) -> Selection:
    """The failed jobs that the filters of `add_failed_filters` leave."""
    return Selection(
        queue=options["queue"],
        name=options["name"],
        since=options["since"],
        rows=options.get("range"),
        group=options["group"],
    )
