"""A bad night of the shop: jobs in every state that an operator may meet."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db.models import F

from demo_project.shop import jobs
from demo_project.shop.models import Customer, Order
from djqueue import batch, chain, context, queues
from djqueue.models import FailedJob, QueuedJob, Worker
from djqueue.testing import work

MANY = 30
RESERVED = ("reserved_at", "reserved_until", "created_at", "available_at")
SEEN = ("alive_until", "started_at")


class Night:
    """Fills the admin, and tells through `say` with what."""

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say = say

    def fall(self) -> None:
        """Let everything happen."""
        users: Any = get_user_model().objects
        operator = users.filter(username="demo").first()
        operator = operator or users.create_superuser("demo", "demo@example.com", "demo")
        orders = list(map(_order, range(MANY)))
        with context.scope(user_id=operator.pk, request_id="night-shift"):
            self._failed(orders)
            self._chain(orders)
            self._batches(orders)
            self._results()
            self._waiting(orders)
        self._paused()
        self._stuck()
        self._earlier()

    def _failed(self, orders: list[Order]) -> None:
        self._say("failed: no address, and a bank that does not answer")
        for order in orders[:8]:
            jobs.BookParcel(order).dispatch()
        for order in orders[:12]:
            jobs.charge_card.dispatch(order, card="4111 1111 1111 1111")
        work(delayed=True)

    def _batches(self, orders: list[Order]) -> None:
        self._say("batches: done, done with failures, half done, cancelled")
        for name, some, most in (("All is well", orders[:5], None), ("Half done", orders[:9], 4)):
            batch(map(jobs.RenderInvoice, some), name=name).dispatch()
            work(queue="pdf", max_jobs=most)
        charges = [jobs.charge_card.bind(order, card="4000") for order in orders[:3]]
        batch(charges, name="With failures", allow_failures=True).dispatch()
        work(queue="default", delayed=True)
        batch(map(jobs.RenderInvoice, orders), name="A mistake").dispatch().cancel()

    def _chain(self, orders: list[Order]) -> None:
        self._say("a chain: broken at its second step")
        card = jobs.charge_card.bind(orders[0], card="4000")
        chain([jobs.RenderInvoice(orders[0]), card, jobs.BookParcel(orders[0])]).dispatch()
        work(queue="pdf,default", max_jobs=2)

    def _results(self) -> None:
        self._say("results: one there, one of a job that waits")
        jobs.count_stock.dispatch("lamps")
        work(queue="default")
        jobs.count_stock.dispatch("diaries")

    def _waiting(self, orders: list[Order]) -> None:
        self._say("waiting, delayed, urgent; a unique job; one that is debounced")
        customers = [order.customer for order in orders]
        for customer in customers[:10]:
            jobs.send_registration_mail.dispatch(customer)
            jobs.send_registration_mail.using(delay=0, priority=5).dispatch(customer)
        for order in orders[10:20]:
            jobs.RenderInvoice(order).using(delay=timedelta(minutes=20)).dispatch()
        for _ in range(2):
            jobs.rebuild_index.dispatch()
            jobs.warm_cache.dispatch("front page")

    def _paused(self) -> None:
        self._say("a queue that is paused")
        queues[None].pause("mail", reason="The mail server is full")

    def _stuck(self) -> None:
        self._say("a job whose worker was killed")
        jobs.yearly_report.dispatch(2026)
        manage = str(Path(settings.HERE).parent / "manage.py")
        line = [sys.executable, manage, "queue_work", "--queue", "reports", "--workers", "1"]
        with subprocess.Popen(line, stdout=subprocess.DEVNULL, start_new_session=True) as worker:
            reports = QueuedJob.objects.filter(queue="reports", reserved_until__isnull=False)
            end = time.monotonic() + 30
            while not reports.exists() and time.monotonic() < end:
                time.sleep(0.1)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
        # As it is three hours later: its lease is over, and no other worker runs.
        since = timedelta(hours=3)
        for model, names in ((QueuedJob, RESERVED), (Worker, SEEN)):
            shifts = {name: F(name) - since for name in names}
            model._base_manager.filter(**{f"{names[0]}__isnull": False}).update(**shifts)

    def _earlier(self) -> None:
        """Spread what has failed over the last hour, as a night does."""
        for number, row in enumerate(FailedJob.objects.order_by("-pk")):
            ago = timedelta(minutes=4 + 2 * number)
            FailedJob.objects.filter(pk=row.pk).update(failed_at=F("failed_at") - ago)


def _order(number: int) -> Order:
    customer, _ = Customer.objects.get_or_create(
        email=f"customer-{number}@example.com", defaults={"name": f"Customer {number}"}
    )
    # Not save(): the receiver would dispatch jobs of its own.
    order = Order(customer=customer, article="A lamp", total=Decimal(45))
    Order.objects.bulk_create([order])
    return Order.objects.filter(customer=customer).latest("pk")
