from __future__ import annotations

from django.contrib import admin

from demo_project.shop.models import (
    Customer,
    CustomerSummary,
    ExchangeRate,
    Invoice,
    Order,
    TimeZone,
    Upload,
)


@admin.register(Customer)
class CustomerAdmin(admin.ModelAdmin):
    list_display = ["name", "email", "address"]


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    list_display = ["__str__", "customer", "article", "total", "status", "placed_at"]


@admin.register(TimeZone)
class TimeZoneAdmin(admin.ModelAdmin):
    list_display = ["name", "countries", "coordinates", "comment"]
    search_fields = ["name", "countries"]


admin.site.register([CustomerSummary, Invoice, Upload, ExchangeRate])
