"""Fills the database of a site with a theme; run as a program."""

from __future__ import annotations

import django

django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402

from tests.admin.support import failed, stuck, waiting  # noqa: E402

call_command("migrate", verbosity=0)
User.objects.create_superuser("anna", password="anna")
stuck(name="shop.Stuck")
waiting(name="shop.Waits")
failed("shop.Failed")
