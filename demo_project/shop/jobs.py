"""The jobs of the shop. djqueue finds this module by its name."""

from __future__ import annotations

import time
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from django.core.files.base import ContentFile
from django.core.mail import send_mail

from demo_project.shop import tables
from demo_project.shop.events import OrderSent
from demo_project.shop.invoices import render
from demo_project.shop.models import Customer, ExchangeRate, Invoice, Order, TimeZone, Upload
from djqueue import Job, current_job, job
from djqueue.events import event


class ImportTimeZones(Job, atomic=True, tries=3, store_result=True):
    """Import an uploaded table: all of it or nothing, and exactly once.

    With ``atomic=True`` the rows, the mail job and the end of this job are one transaction.
    """

    upload: Upload

    def handle(self) -> int:
        rows, refused = tables.read(self.upload.path)
        current_job().progress(0, len(rows), f"{len(rows)} time zones")
        TimeZone.objects.bulk_create(
            [TimeZone(**row) for row in rows],
            batch_size=200,
            update_conflicts=True,
            unique_fields=["name"],
            update_fields=["countries", "coordinates", "comment"],
        )
        self.upload.imported = len(rows)
        self.upload.refused = "\n".join(refused)
        self.upload.save()
        tell_uploader.dispatch(self.upload)
        current_job().progress(len(rows), len(rows))
        return len(rows)


@job(queue="mail", tries=5, backoff=[10, 60])
def tell_uploader(upload: Upload) -> None:
    lines = [f"{upload.imported} time zones of {Path(upload.path).name} were imported."]
    if upload.refused:
        lines += ["These lines were refused:", upload.refused]
    send_mail("Your upload", "\n".join(lines), None, [upload.uploaded_by.email])


class RenderInvoice(Job, queue="pdf", timeout=30, tries=2):
    """Render the invoice of an order to a PDF file."""

    order: Order

    def handle(self) -> str:
        invoice, _ = Invoice.objects.get_or_create(order=self.order)
        invoice.file.delete(save=False)  # of an attempt before this one
        invoice.file.save(f"invoice-{self.order.pk:05}.pdf", ContentFile(render(self.order)))
        return invoice.file.path


@job(queue="mail", delay=timedelta(hours=1))
def send_registration_mail(customer: Customer) -> None:
    send_mail("Welcome", f"Good to have you, {customer.name}.", None, [customer.email])


@job(tries=5, backoff=[1, 2])
def fetch_exchange_rate(currency: str) -> None:
    """Ask a service that is down at first: the job fails twice, and waits 1 s and 2 s."""
    if current_job().attempt < 3:
        raise ConnectionError("the exchange does not answer")
    ExchangeRate.objects.update_or_create(currency=currency, defaults={"rate": Decimal("1.0842")})


class BookParcel(Job):
    """Book a parcel with the carrier. Without an address that fails, as trying again would."""

    order: Order

    def handle(self) -> None:
        if not self.order.customer.address:
            raise ValueError(f"{self.order}: {self.order.customer} has no address")
        Order.objects.filter(pk=self.order.pk).update(status=Order.Status.SENT)
        event(OrderSent(self.order))

    def failed(self, error: BaseException) -> None:
        Order.objects.filter(pk=self.order.pk).update(status=Order.Status.NEEDS_ATTENTION)


@job
def charge_card(order: Order, card: str) -> None:
    """Ask a bank that does not answer. `card` is a secret: operators see it masked."""
    raise ConnectionError("the bank does not answer")


@job(queue="reports", timeout=3600, store_result=True)
def yearly_report(year: int) -> str:
    """Take long."""
    for month in range(1, 13):
        current_job().progress(month, 12, f"{year}-{month:02}")
        time.sleep(60)
    return f"{year}.pdf"


@job(store_result=True)
def count_stock(article: str) -> int:
    current_job().progress(1, 1, article)
    return len(article)


@job(queue="index", unique=True)
def rebuild_index() -> None:
    """One at a time."""


@job(queue="cache", debounce=3600)
def warm_cache(page: str) -> None:
    """The last of several within an hour."""
