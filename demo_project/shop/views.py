"""The pages of the shop: to register a customer, to order, to see what was sent to whom, and to
import a table.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.files.storage import default_storage
from django.db import transaction
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.generic import CreateView, TemplateView

from demo_project.shop.jobs import ImportTimeZones, send_registration_mail
from demo_project.shop.models import Customer, CustomerSummary, Order, Upload

PAGES = [
    ("register", "Register"),
    ("order", "Order"),
    ("customers", "Customers"),
    ("import", "Import"),
]


class Page(LoginRequiredMixin):
    """What all pages have: a way to the others."""

    extra_context = {"pages": PAGES}


class RegisterPage(Page, CreateView):
    """A new customer, to whom a mail is sent in an hour."""

    model = Customer
    fields = ["name", "email", "address"]
    template_name = "shop/form.html"
    extra_context = {
        **Page.extra_context,
        "heading": "Register",
        "what_follows": "A job sends the customer a mail in an hour.",
    }

    @transaction.atomic  # customer and job are stored together, or not at all
    def form_valid(self, form: ModelForm) -> HttpResponse:
        customer = form.save()
        send_registration_mail.dispatch(customer)
        return redirect(f"{reverse('order')}?customer={customer.pk}")


class OrderPage(Page, CreateView):
    """An order. What follows from it begins in `demo_project.shop.receivers`."""

    model = Order
    fields = ["customer", "article", "total"]
    template_name = "shop/form.html"
    extra_context = {
        **Page.extra_context,
        "heading": "Order",
        "what_follows": "Jobs make the invoice and book the parcel. When it is sent, a listener "
        "updates the table that the page of customers reads.",
    }

    def get_initial(self) -> dict[str, Any]:
        return {"customer": self.request.GET.get("customer")}

    @transaction.atomic  # the order and its jobs as well
    def form_valid(self, form: ModelForm) -> HttpResponse:
        return super().form_valid(form)

    def get_success_url(self) -> str:
        return reverse("customers")


class CustomersPage(Page, TemplateView):
    """What was sent to whom: read from the table that a queued listener keeps."""

    template_name = "shop/customers.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        customers = CustomerSummary.objects.select_related("customer").order_by("customer__name")
        return super().get_context_data(customers=customers, **kwargs)


class ImportPage(Page, TemplateView):
    """A form for a file; and the progress of the job with the id in ``?job=``."""

    template_name = "shop/import.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(job=self.request.GET.get("job", ""), **kwargs)

    def post(self, request: HttpRequest) -> HttpResponse:
        file = request.FILES["table"]
        path = default_storage.path(default_storage.save(f"uploads/{file.name}", file))
        upload = Upload.objects.create(path=path, uploaded_by=request.user)
        job = ImportTimeZones(upload).dispatch()
        return redirect(f"{request.path}?job={job.id}")
