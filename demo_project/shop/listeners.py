"""Who listens. djqueue finds this module by its name."""

from __future__ import annotations

from django.db.models import Count, Sum

from demo_project.shop.events import OrderSent
from demo_project.shop.models import CustomerSummary, Order
from djqueue.events import listen


@listen(OrderSent, queue="projections")
def summarise(happened: OrderSent) -> None:
    """Keep the table up to date that the page of customers reads. It writes what is true now, so
    that it may run twice, late, and in any order.
    """
    customer = happened.order.customer
    sent = Order.objects.filter(customer=customer, status=Order.Status.SENT)
    facts = sent.aggregate(orders=Count("pk"), total=Sum("total"))
    CustomerSummary.objects.update_or_create(
        customer=customer,
        defaults={"orders": facts["orders"], "total": facts["total"] or 0},
    )
