"""What happens in the shop."""

from __future__ import annotations

from demo_project.shop.models import Order
from djqueue.events import Event


class OrderSent(Event, after_commit=True):
    """A parcel was booked for an order."""

    order: Order
