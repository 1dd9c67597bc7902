"""Jobs whose arguments are of every kind that the form for other arguments has a field for."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from enum import Enum
from typing import Any, Literal

from djqueue import Job, job
from tests.app.models import Note


class Speed(Enum):
    SLOW = 1
    FAST = 2


class Invoice(Job, name="app.Invoice"):
    """A class job."""

    note: Note
    copies: int
    ratio: float
    price: Decimal
    paid: bool
    title: str
    day: dt.date
    at: dt.datetime
    clock: dt.time
    every: dt.timedelta
    ref: uuid.UUID
    speed: Speed
    kind: Literal["pdf", "html"]
    lines: list[dict[str, Any]]
    prices: list[Decimal]
    remark: str | None = None
    limit: int | None = None
    api_token: str = ""
    options: Any = None

    def handle(self) -> None:
        """Do nothing."""


@job(name="app.label")
def label(order_id: int, *, urgent: bool = False) -> None:
    """A function job."""
