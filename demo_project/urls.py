"""The admin, and the pages of the shop."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from demo_project.shop.views import CustomersPage, ImportPage, OrderPage, RegisterPage

urlpatterns = [
    path("admin/", admin.site.urls),
    path("jobs/", include("djqueue.urls")),
    path("register/", RegisterPage.as_view(), name="register"),
    path("order/", OrderPage.as_view(), name="order"),
    path("customers/", CustomersPage.as_view(), name="customers"),
    path("import/", ImportPage.as_view(), name="import"),
    path("", RedirectView.as_view(pattern_name="admin:index")),
]
