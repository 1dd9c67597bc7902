"""Run the marked blocks of one page in order, in one namespace, then the tests that they define
and the jobs that they left. A process of its own: ``python -m tests.docs.run_page README.md``.
"""

from __future__ import annotations

import sys
import types
import unittest
from pathlib import Path
from typing import Any

import django
from django.core.management import call_command

from tests.docs.markdown import ROOT, blocks

MODULE = "tests.docs.project.shop.page"
MODELS = ("Customer", "Order", "Invoice", "Receipt", "Trouble")


class Printer:
    def print(self, invoice: object, copies: int) -> None:
        print("printed", invoice, copies)

    def close(self) -> None:
        print("closed")


def main(page: Path) -> None:
    django.setup()
    call_command("migrate", run_syncdb=True, verbosity=0)
    namespace = prepare()
    for block in blocks(page):
        if block.runs:
            exec(compile(block.source, str(block.page), "exec"), namespace)
    run_jobs()
    run_tests(namespace)


def prepare() -> dict[str, Any]:
    """What the examples take for granted, in a module of the app."""
    from django.db import transaction

    from tests.docs.project.shop import models

    module = sys.modules[MODULE] = types.ModuleType(MODULE)
    customer = models.Customer.objects.create(email="ada@example.com")
    order = models.Order.objects.create(customer=customer)
    namespace = vars(module)

    def register(email: str) -> None:
        saved = models.Customer.from_db("default", ["id", "email"], [1, email])
        namespace["send_welcome"].dispatch(saved)

    namespace.update(
        **{name: getattr(models, name) for name in MODELS},
        Printer=Printer,
        get_printer=Printer,
        customer=customer,
        order=order,
        invoice=models.Invoice.objects.create(order=order),
        register=register,
        transaction=transaction,
    )
    return namespace


def run_jobs() -> None:
    from djqueue.testing import work

    while work(delayed=True, max_jobs=100, raise_errors=True):
        pass


def run_tests(namespace: dict[str, Any]) -> None:
    from djqueue.testing import fake_queue

    suite = unittest.TestSuite()
    for name, value in list(namespace.items()):
        if isinstance(value, type) and issubclass(value, unittest.TestCase):
            suite.addTests(unittest.defaultTestLoader.loadTestsFromTestCase(value))
        elif name.startswith("test_"):
            with fake_queue() as queue:
                value(fake_queue=queue)
    if not unittest.TextTestRunner().run(suite).wasSuccessful():
        raise SystemExit(1)


if __name__ == "__main__":
    main(ROOT / sys.argv[1])
