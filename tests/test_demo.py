"""The demonstration runs, also twice at once in one folder, and shows what it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT

pytestmark = pytest.mark.wallclock


@pytest.fixture
def start(tmp_path):
    """Return a function that starts the demonstration in one folder, with a connection."""
    processes = []

    def start(connection="database"):
        environment = {
            **{key: value for key, value in os.environ.items() if "DJANGO" not in key},
            "DEMO_FOLDER": str(tmp_path / "demo"),
            "QUEUE_CONNECTION": connection,
        }
        process = subprocess.Popen(
            [sys.executable, "-W", "error::DeprecationWarning", "manage.py", "demo"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


def invoices(output: str) -> list[str]:
    return re.findall(r"^(/.*\.pdf)  \(", output, re.MULTILINE)


def check(output: str) -> None:
    assert len(invoices(output)) == 4, output
    assert "To demo@example.com: 312 time zones of zone1970.tab were imported." in output
    assert "312 time zones\n" in output
    assert "Ada: 1 sent, 1500.00 EUR" in output
    assert "Emil: " not in output
    assert "runserver" in output


def test_it_runs_twice_at_once(start):
    outputs = [process.communicate(timeout=120)[0] for process in (start(), start())]
    for output in outputs:
        check(output)
        assert "the exchange does not answer · again in 2 s" in output
        assert "1 EUR = 1.0842 USD, at the third attempt" in output
        assert "shop.send_registration_mail waits until" in output
        assert re.search(r"ValueError: Order \d+: Dora has no address", output)
        assert "Retried 1 job." in output
        assert re.search(r"manage.py queue_retry [0-9a-f-]{36}", output)
    assert "Another demonstration runs here." in "".join(outputs)
    made = [Path(path) for output in outputs for path in invoices(output)]
    kept = [path for path in made if path.exists()]
    assert len(kept) == 4, "the second run begins anew"
    assert all(path.read_bytes().startswith(b"%PDF-") for path in kept)


def test_it_runs_without_a_worker_on_the_sync_connection(start):
    output, _ = start("sync").communicate(timeout=60)
    check(output)
    assert "ConnectionError: the exchange does not answer" in output
    assert "queue_work" not in output


PAGE = """
import re
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.test import Client

call_command("migrate", verbosity=0)
client = Client(SERVER_NAME="localhost")
client.force_login(User.objects.create_superuser("anna", "anna@example.com"))
table = ContentFile(b"AD\\t+4230+00131\\tEurope/Andorra\\n", name="few.tab")
page = client.post("/import/", {"table": table}, follow=True).content.decode()
[url] = re.findall('data-djqueue-url="([^"]+)"', page)
print(client.get(url).json())
from demo_project.shop.models import Customer, Order
customer = Customer.objects.create(name="Ada", email="a@example.com", address="London")
Order.objects.create(customer=customer, article="A lamp", total=45)
print(client.get("/customers/").content.decode())
print(Client(SERVER_NAME="localhost").get(url).status_code)
"""


def test_its_pages_show_an_import_to_the_user_who_began_it_and_what_was_sent(tmp_path):
    environment = {
        **{key: value for key, value in os.environ.items() if "DJANGO" not in key},
        "DEMO_FOLDER": str(tmp_path / "demo"),
        "QUEUE_CONNECTION": "sync",
    }
    command = [sys.executable, "manage.py", "shell", "-c", PAGE]
    output = subprocess.check_output(command, cwd=ROOT, env=environment, text=True)
    assert "'status': 'done'" in output
    assert "'value': 1" in output
    assert "'percent': 100" in output
    assert re.search(r"<td>Ada</td><td class=.number.>1</td><td class=.number.>45.00</td>", output)
    assert output.rstrip().endswith("404")


ORDERS = """
from unittest.mock import patch
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from demo_project.shop import jobs, models

call_command("migrate", verbosity=0)
client = Client(SERVER_NAME="localhost", raise_request_exception=False)
client.force_login(User.objects.create_superuser("anna", "anna@example.com"))
customer = models.Customer.objects.create(name="Ada", email="a@example.com", address="London")
order = {"customer": customer.pk, "article": "A lamp", "total": "45"}
print(client.post("/order/", {**order, "total": "-5"}).status_code, models.Order.objects.count())
with patch.object(jobs.BookParcel, "dispatch", side_effect=RuntimeError):
    print(client.post("/order/", order).status_code, models.Order.objects.count())
print(client.post("/order/", order).status_code, models.Order.objects.count())
"""


def test_an_order_is_stored_with_its_jobs_or_not_at_all_and_costs_no_less_than_nothing(tmp_path):
    environment = {
        **{key: value for key, value in os.environ.items() if "DJANGO" not in key},
        "DEMO_FOLDER": str(tmp_path / "demo"),
    }
    command = [sys.executable, "manage.py", "shell", "-c", ORDERS]
    output = subprocess.check_output(command, cwd=ROOT, env=environment, text=True)
    assert [line for line in output.splitlines() if re.fullmatch(r"\d+ \d+", line)] == [
        "200 0",  # the form again
        "500 0",
        "302 1",
    ]


@pytest.mark.scenario
def test_the_admin_is_filled_with_every_state(tmp_path):
    environment = {
        **{key: value for key, value in os.environ.items() if "DJANGO" not in key},
        "DEMO_FOLDER": str(tmp_path / "night"),
    }

    def manage(*arguments):
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.check_output(command, cwd=ROOT, env=environment, text=True)

    output = manage("demo_admin")
    assert "http://127.0.0.1:8000/admin/ (user demo, password demo)" in output
    assert f"DEMO_FOLDER={tmp_path / 'night'}" in output
    lines = manage("queue_status", "--json").splitlines()
    queues = {each["queue"]: each for each in map(json.loads, lines)}
    assert queues["mail"]["waiting"] == queues["mail"]["delayed"] == 10
    assert queues["mail"]["paused"]
    assert queues["reports"]["reserved"] == 1, "its worker was killed"
    assert len(manage("queue_failed", "--json").splitlines()) == 24
    batches = manage("queue_batches")
    assert all(state in batches for state in ("done", "failed", "running", "cancelled"))
