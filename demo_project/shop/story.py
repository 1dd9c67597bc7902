"""What the demonstration does, step by step. Each step is what a view or a person would do."""

from __future__ import annotations

import email
import shutil
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.utils import timezone

from demo_project.shop.jobs import ImportTimeZones, fetch_exchange_rate, send_registration_mail
from demo_project.shop.models import (
    Customer,
    CustomerSummary,
    ExchangeRate,
    Invoice,
    Order,
    TimeZone,
    Upload,
)
from djqueue import queues
from djqueue.models import FailedJob

QUEUES = ("default", "pdf", "mail", "projections")
CUSTOMERS = (
    ("Ada", "12 St James's Square, London"),
    ("Blaise", "Rue des Gras, Clermont-Ferrand"),
    ("Dora", ""),
    ("Emil", ""),
)
ARTICLES = (("A difference engine", 1500), ("A calculator", 250), ("A diary", 9), ("A lamp", 45))


class Story:
    """Tells through `say` what it does."""

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say = say

    def begin_anew(self) -> None:
        """Remove what an earlier run left, and see that there is somebody to log in as."""
        for queue in QUEUES:
            queues[None].clear(queue)
        FailedJob.objects.filter(name__startswith="shop.").delete()
        for model in (Invoice, Order, Customer, Upload, TimeZone, ExchangeRate):
            model.objects.all().delete()
        for name in ("files", "mail"):
            shutil.rmtree(settings.FOLDER / name, ignore_errors=True)
        users: Any = get_user_model().objects
        if not users.filter(username="demo").exists():
            users.create_superuser("demo", "demo@example.com", "demo")

    def dispatch(self) -> None:
        """What happens on an ordinary day of a shop."""
        table = settings.HERE / "data" / "zone1970.tab"
        self._say(f"demo uploads {table.name}, the IANA's table of time zones: ImportTimeZones")
        uploader = get_user_model().objects.get(username="demo")
        upload = Upload.objects.create(path=str(table), uploaded_by=uploader)
        self._try(ImportTimeZones(upload).dispatch)
        for (name, address), (article, price) in zip(CUSTOMERS, ARTICLES, strict=True):
            self._say(f"{name} orders {article.lower()}: a post_save receiver dispatches two jobs")
            customer = Customer.objects.create(
                name=name, email=f"{name.lower()}@example.com", address=address
            )
            order = Order(customer=customer, article=article, total=Decimal(price))
            self._try(order.save)
        self._say("Emil has registered: a mail in an hour")
        self._try(send_registration_mail.dispatch, customer)
        self._say("a rate is asked for, at an exchange that will not answer at first")
        self._try(fetch_exchange_rate.dispatch, "USD")

    def wait_for_retry(self) -> bool:
        """Wait for a job that is due within seconds; False if there is none."""
        delayed = queues[None].peek("default", "delayed", limit=1)
        if not delayed or delayed[0].available_at is None:
            return bool(queues[None].peek("default", "waiting", limit=1))  # due by now
        seconds = (delayed[0].available_at - timezone.now()).total_seconds()
        self._say(f"{delayed[0].name} waits {max(seconds, 0):.1f} s for its next try.")
        time.sleep(max(seconds, 0) + 0.05)
        return True

    def failed_of(self, name: str) -> str | None:
        """The id of the failed job about a customer's order."""
        failed = FailedJob.objects.filter(exception_message__contains=f"{name} has no address")
        return next((str(each.uuid) for each in failed), None)

    def mend(self, name: str) -> str:
        """Do what the job failed for want of; the id of the job."""
        Customer.objects.filter(name=name).update(address="Bahnhofstrasse 1, Zurich")
        id = self.failed_of(name)
        assert id is not None, f"{name}'s job has not failed"
        return id

    def show_results(self, root: Path) -> None:
        """What is there now."""
        for invoice in Invoice.objects.order_by("order_id"):
            self._say(f"{shown(Path(invoice.file.path), root)}  ({invoice.file.size:,} bytes)")
        for path in sorted((settings.FOLDER / "mail").glob("*")):
            mail = email.message_from_string(path.read_text())
            text = str(mail.get_payload()).strip().splitlines()[0]
            self._say(f"{shown(path, root)}  To {mail['To']}: {text}")
        self._say(f"{TimeZone.objects.count()} time zones")
        for summary in CustomerSummary.objects.order_by("customer__name"):
            self._say(str(summary))
        for rate in ExchangeRate.objects.all():
            self._say(f"{rate}, at the third attempt")
        for job in queues[None].peek("mail", "delayed"):
            self._say(f"{job.name} waits until {job.available_at:%H:%M} UTC")

    def folder(self, root: Path) -> str:
        """Where everything is kept."""
        return shown(settings.FOLDER, root)

    def _try(self, dispatch: Callable[..., object], *args: object) -> None:
        """On the ``sync`` connection a job runs here, and its error arrives here."""
        try:
            dispatch(*args)
        except Exception as error:
            if not queues[None].driver.capabilities.inline:
                raise
            self._say(f"    {type(error).__name__}: {error}")


def shown(path: Path, root: Path) -> str:
    """A path as people read it."""
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
