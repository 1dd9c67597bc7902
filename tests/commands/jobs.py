"""What the tests of the commands dispatch."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db.models import QuerySet

from djqueue import Job, job
from tests.app.models import Note


class Size(enum.Enum):
    SMALL = "s"
    LARGE = "l"


@dataclass
class Address:
    street: str
    number: int = 1


class Send(Job, name="test.commands.Send", queue="mail"):
    """A job with arguments of the common kinds."""

    number: int
    text: str = ""
    note: Note | None = None
    loud: bool = False

    def handle(self) -> str:
        return f"{self.number} {self.text} {self.note.text if self.note else '-'}"


@job(name="test.commands.every")
def every(
    day: dt.date | None = None,
    at: dt.datetime | None = None,
    hour: dt.time | None = None,
    span: dt.timedelta | None = None,
    price: Decimal | None = None,
    key: uuid.UUID | None = None,
    size: Size = Size.SMALL,
    raw: bytes = b"",
    ratio: float = 0.5,
    tags: list[str] = (),
    pair: tuple[int, str] = (0, ""),
    ids: set[int] = frozenset(),
    prices: dict[str, Decimal] | None = None,
    address: Address | None = None,
    notes: QuerySet[Note] | None = None,
    either: int | str = 0,
    anything: Any = None,
) -> None:
    """A function with an argument of every kind."""


class Shown(Job, name="test.commands.Shown"):
    """A job with a name for operators."""

    order: int
    password: str = ""

    def handle(self) -> None:
        raise ValueError("no")

    def display_name(self) -> str:
        return f"Order {self.order} password={self.password}"


class Empty(Job, name="test.commands.Empty"):
    """A job without arguments."""

    def handle(self) -> None:
        pass


@job(name="test.commands.Keep", store_result=True, tries=1)
def keep(number: int) -> None:
    """Fail, with a result that is kept."""
    raise ValueError(number)
