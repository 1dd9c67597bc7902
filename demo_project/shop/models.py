"""The tables of the shop."""

from __future__ import annotations

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models


class Customer(models.Model):
    name = models.CharField(max_length=100)
    email = models.EmailField(unique=True)
    address = models.CharField(max_length=200, blank=True)

    def __str__(self) -> str:
        return self.name


class Order(models.Model):
    class Status(models.TextChoices):
        NEW = "new"
        SENT = "sent"
        NEEDS_ATTENTION = "needs attention"

    customer = models.ForeignKey(Customer, on_delete=models.CASCADE)
    article = models.CharField(max_length=100)
    total = models.DecimalField(max_digits=8, decimal_places=2, validators=[MinValueValidator(0)])
    status = models.CharField(max_length=20, choices=Status.choices, default=Status.NEW)
    placed_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"Order {self.pk}"


class CustomerSummary(models.Model):
    """What a page reads: how many orders were sent to a customer. A listener keeps it."""

    customer = models.OneToOneField(Customer, on_delete=models.CASCADE)
    orders = models.PositiveIntegerField()
    total = models.DecimalField(max_digits=10, decimal_places=2)

    class Meta:
        verbose_name_plural = "customer summaries"

    def __str__(self) -> str:
        return f"{self.customer}: {self.orders} sent, {self.total} EUR"


class Invoice(models.Model):
    order = models.OneToOneField(Order, on_delete=models.CASCADE)
    file = models.FileField(upload_to="invoices")
    made_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"Invoice of order {self.order_id}"


class Upload(models.Model):
    """A table that somebody wants imported."""

    path = models.CharField(max_length=200)
    uploaded_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    imported = models.PositiveIntegerField(null=True, editable=False)
    refused = models.TextField(blank=True, editable=False)

    def __str__(self) -> str:
        return f"Upload {self.pk}"


class TimeZone(models.Model):
    """A row of the IANA's table of time zones."""

    name = models.CharField(max_length=50, unique=True)
    countries = models.CharField(max_length=100)
    coordinates = models.CharField(max_length=20)
    comment = models.CharField(max_length=100, blank=True)

    def __str__(self) -> str:
        return self.name


class ExchangeRate(models.Model):
    currency = models.CharField(max_length=3, unique=True)
    rate = models.DecimalField(max_digits=10, decimal_places=4)

    def __str__(self) -> str:
        return f"1 EUR = {self.rate} {self.currency}"
