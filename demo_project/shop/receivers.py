"""What happens when an order is saved."""

from __future__ import annotations

from typing import Any

from django.db.models.signals import post_save
from django.dispatch import receiver

from demo_project.shop.jobs import BookParcel, RenderInvoice
from demo_project.shop.models import Order


@receiver(post_save, sender=Order)
def order_saved(instance: Order, created: bool, raw: bool = False, **kwargs: Any) -> None:
    """A new order is invoiced and sent; not one that a fixture brings (`raw`)."""
    if created and not raw:
        RenderInvoice(instance).dispatch()
        BookParcel(instance).dispatch()
