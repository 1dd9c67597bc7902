"""What the documentation's examples are about."""

from __future__ import annotations

from django.db import models


class Customer(models.Model):
    email = models.EmailField()


class Order(models.Model):
    customer = models.ForeignKey(Customer, on_delete=models.CASCADE)
    paid = models.BooleanField(default=False)
    is_urgent = False


class Invoice(models.Model):
    order = models.ForeignKey(Order, on_delete=models.CASCADE)
    broken = models.BooleanField(default=False)

    def mark_as_broken(self) -> None:
        self.broken = True
        self.save()


class Trouble(models.Model):
    name = models.CharField(max_length=255, unique=True)


class Receipt(models.Model):
    order = models.ForeignKey(Order, on_delete=models.CASCADE)
