"""A page on which a user imports a table, and sees how far that has come; a page of customers."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.files.storage import default_storage
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.generic import TemplateView

from demo_project.shop.jobs import ImportTimeZones
from demo_project.shop.models import CustomerSummary, Upload


class CustomersPage(LoginRequiredMixin, TemplateView):
    """What was sent to whom: read from the table that a queued listener keeps."""

    template_name = "shop/customers.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        customers = CustomerSummary.objects.select_related("customer").order_by("customer__name")
        return super().get_context_data(customers=customers, **kwargs)


class ImportPage(LoginRequiredMixin, TemplateView):
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
