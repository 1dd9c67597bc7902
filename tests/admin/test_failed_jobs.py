"""Failed jobs: the list, retrying and forgetting, and two operators at once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from djqueue.drivers.base import OutgoingJob
from djqueue.drivers.database import DatabaseDriver
from djqueue.models import FailedJob, QueuedJob
from djqueue.payload.payload import decode
from tests.admin.support import FAILED, act, client, exists, failed, logged, press, said, text_of

pytestmark = pytest.mark.django_db

ALL = ("retry_failedjob", "delete_failedjob")
BATCH = "01a213e8-0000-7000-8000-00000000beef"


def _names(**query: str) -> list[str]:
    page = client().get(FAILED, query)
    return [row.name for row in page.context["cl"].result_list]


def test_the_list_shows_job_and_error():
    failed(queue="mail", exception_message="x" * 200)
    page = client().get(FAILED).content.decode()
    for text in ("shop.SendReceipt", ">OutOfStock<", "x" * 99 + "…", "mail", "3 min ago"):
        assert text in page
    assert "x" * 100 not in page


def test_the_list_loads_no_payload_and_no_traceback():
    failed()
    with CaptureQueriesContext(connection) as queries:
        client(*ALL).get(FAILED, {"q": "order", "connection": "database", "queue": "default"})
    statements = [q["sql"] for q in queries if "failed_jobs" in q["sql"]]
    assert statements
    for sql in statements:
        for column in ("payload", '"exception"', "history", "DISTINCT"):
            assert column not in sql


def test_filters():
    failed("shop.Mail", queue="mail")
    failed("shop.Pdf", queue="pdf", connection="redis")
    FailedJob.objects.filter(name="shop.Pdf").update(failed_at="2020-01-01T00:00:00Z")
    assert _names(queue="mail") == ["shop.Mail"]
    assert _names(connection="redis") == ["shop.Pdf"]
    assert _names(failed="15m") == ["shop.Mail"]
    assert _names(failed="older") == ["shop.Pdf"]
    page = client().get(FAILED, {"connection": "redis"}).content.decode()
    assert "queue=" not in page  # of one queue there is nothing to choose
    failed("shop.Pdf", queue="slow", connection="redis")
    page = client().get(FAILED, {"connection": "redis"}).content.decode()
    assert "connection=redis&amp;queue=pdf" in page
    assert "queue=mail" not in page
    page = client().get(FAILED, {"connection": "database", "queue": "mail"}).content.decode()
    assert '<a href="?connection=database"' in page  # and yet it can be taken off again


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("exc:OutOfStock", ["shop.Pdf"]),
        ("exc:shop.errors.OutOfStock", ["shop.Pdf"]),
        ("exc:*Error", ["shop.Mail"]),
        ("refused", ["shop.Mail"]),
        ("job:Pdf", ["shop.Pdf"]),
        (f"batch:{BATCH}", ["shop.Pdf"]),
        ("batch:another", []),
    ],
)
def test_search(search, found):
    failed("shop.Mail", exception_class="OSError", exception_message="Connection refused")
    failed("shop.Pdf", batch_id=BATCH)
    assert _names(q=search) == found


@pytest.mark.parametrize(
    ("action", "verb", "permission"),
    [
        ("retry_jobs", "retry", "retry_failedjob"),
        ("forget_jobs", "forget", "delete_failedjob"),
    ],
)
def test_an_action_needs_exactly_its_permission(action, verb, permission):
    row = failed()
    browser = client(*(code for code in ALL if code != permission))
    assert f'value="{action}"' not in browser.get(FAILED).content.decode()
    assert f"/act/{verb}/" not in browser.get(f"{FAILED}{row.pk}/change/").content.decode()
    act(browser, FAILED, action, [row])
    assert press(browser, row, verb).status_code == 403
    assert exists(row)
    assert logged() == []

    browser = client(permission)
    assert f"/act/{verb}/" in browser.get(f"{FAILED}{row.pk}/change/").content.decode()
    act(browser, FAILED, action, [row])
    assert not exists(row)
    row = failed()
    assert press(browser, row, verb).url == FAILED
    assert not exists(row)
    assert [json.loads(entry.change_message)["verb"] for entry in logged()] == [verb, verb]


def test_a_retried_job_is_in_its_queue_again():
    row = failed(queue="mail")
    response = act(client(*ALL), FAILED, "retry_jobs", [row])
    assert said(response) == [
        "Retried 1 job. It is back in its queue, and its attempts are counted from the beginning."
    ]
    job = QueuedJob.objects.get()
    assert (job.uuid, job.queue, job.attempts) == (row.uuid, "mail", 0)
    assert decode(job.payload) == decode(row.payload)


def test_of_two_operators_who_retry_the_same_job_one_does():
    row = failed()
    first, second = client(*ALL), client(*ALL)
    act(first, FAILED, "retry_jobs", [row])
    [kept] = said(act(second, FAILED, "retry_jobs", [row]))
    assert kept == "1 job was not retried: it was already retried by user0 just now."
    assert QueuedJob.objects.count() == 1
    assert len(logged()) == 1


def test_what_an_operator_forgot_cannot_be_retried():
    row = failed()
    act(client(*ALL), FAILED, "forget_jobs", [row])
    [kept] = said(press(client(*ALL), row, "retry"))
    assert "already forgotten by user0" in kept


def test_what_was_retried_elsewhere_is_not_attributed():
    rows = [failed(), failed()]
    FailedJob.objects.all().delete()
    [kept] = said(act(client(*ALL), FAILED, "retry_jobs", rows))
    assert kept == "2 jobs were not retried: they were already retried or forgotten."


def test_a_job_of_an_unknown_connection_stays_and_the_reason_is_shown():
    here, there = failed(), failed(connection="100% gone")
    retried, kept = said(act(client(*ALL), FAILED, "retry_jobs", [here, there]))
    assert retried.startswith("Retried 1 job.")
    assert kept.startswith('1 job was not retried: Unknown queue connection "100% gone".')
    assert exists(there)
    assert len(logged()) == 1


def _unreachable(*args: Any, **kwargs: Any) -> Any:
    from djqueue.errors import QueueUnavailable

    raise QueueUnavailable("The store cannot be reached.")


def test_a_store_that_cannot_be_reached_leaves_the_jobs(monkeypatch):
    from djqueue.drivers.database import DatabaseDriver

    monkeypatch.setattr(DatabaseDriver, "push", _unreachable)
    row = failed()
    [kept] = said(act(client(*ALL), FAILED, "retry_jobs", [row]))
    assert "The store cannot be reached." in kept
    assert exists(row)
    assert logged() == []


def test_a_store_that_is_away_is_asked_once_and_told_of_once(
    monkeypatch,
):
    from djqueue.admin import operator
    from djqueue.drivers.database import DatabaseDriver

    asked = []

    def away(*args: Any) -> None:
        asked.append(args)
        _unreachable()

    monkeypatch.setattr(operator, "SLICE", 2)
    monkeypatch.setattr(DatabaseDriver, "push", away)
    rows = [failed() for _ in range(5)]
    [kept] = said(act(client(*ALL), FAILED, "retry_jobs", rows))
    assert kept == "5 jobs were not retried: The store cannot be reached."
    assert len(asked) == 1


def test_a_job_whose_own_code_raises_is_left_alone_with_the_reason():
    from tests.dispatch.jobs import Grouped

    name = Grouped._spec.name
    bad = failed(name, payload=text_of(name, {"who": "nobody"}))
    good = [failed(name, payload=text_of(name, {"who": "a@b"})), failed()]
    done, kept = said(act(client(*ALL), FAILED, "retry_jobs", [bad, *good]))
    assert done.startswith("Retried 2 jobs.")
    assert "raised IndexError" in kept
    assert exists(bad)


def test_forgetting_asks_before_it_does():
    row = failed()
    browser = client(*ALL)
    for page in (
        press(browser, row, "forget", answered=False),
        act(browser, FAILED, "forget_jobs", [row], answered=False),
    ):
        assert "cannot be retried any more" in page.content.decode()
    assert exists(row)


def test_all_that_match_are_retried_after_a_question():
    rows = [failed(), failed()]
    other = failed(queue="mail")
    browser = client(*ALL)
    url = f"{FAILED}?queue=default"
    page = act(browser, url, "retry_jobs", rows[:1], select_across="1", answered=False)
    assert "2 failed jobs" in page.content.decode()
    form = {"select_across": "1", "confirmed": "yes", "newest": str(page.context["newest"])}
    said_ = said(act(browser, url, "retry_jobs", rows[:1], **form))
    assert said_[0].startswith("Retried 2 jobs.")
    assert exists(other)


@override_settings(DJQUEUE={"FAILED_JOBS": None})
def test_where_none_are_kept_the_page_says_so():
    page = client().get(FAILED)
    assert page.status_code == 200
    assert "No failed jobs are kept" in page.content.decode()


def test_what_somebody_is_retrying_is_neither_forgotten_nor_said_to_be():
    row, free = failed(), failed()
    FailedJob.objects.filter(pk=row.pk).update(
        taken_until=timezone.now() + timedelta(seconds=30), taken_by="somebody"
    )
    (kept, gone) = said(act(client(*ALL), FAILED, "forget_jobs", [row, free]))
    assert "another operator is retrying it now" in kept + gone
    assert FailedJob.objects.get().pk == row.pk


class Elsewhere(DatabaseDriver):
    """Another store, as far as a retry can see."""

    pushed_within: ClassVar[list[bool]] = []

    def shares_transaction_with(self, alias: str) -> bool:
        return False

    def push(self, jobs: Sequence[OutgoingJob]) -> None:
        self.pushed_within.append(connection.in_atomic_block)
        super().push(jobs)


@pytest.fixture(params=[False, True], ids=["", "atomic requests"])
def elsewhere(
    request,
    permissions,
    settings,
    monkeypatch,
):
    """Jobs go to another store than the rows, with and without a transaction for each request."""
    settings.DJQUEUE = {"CONNECTIONS": {"database": {"DRIVER": f"{__name__}.Elsewhere"}}}
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", request.param)
    Elsewhere.pushed_within.clear()


@pytest.mark.django_db(transaction=True)
def test_a_retry_is_pushed_outside_of_transactions(elsewhere):
    """One around it would take back what is on record about the push when the process dies."""
    some, one = failed(), failed()
    browser = client("retry_failedjob")
    assert "Retried 1 job" in "".join(said(act(browser, FAILED, "retry_jobs", [some])))
    assert press(browser, one, "retry").status_code == 302
    assert Elsewhere.pushed_within == [False, False]
    assert not FailedJob.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_what_was_retried_stays_retried_when_the_request_fails_later(elsewhere):
    """Else the job would be in its queue and among the failed ones, and run twice."""

    def fails(execute: Any, sql: str, *rest: Any) -> Any:
        if "django_admin_log" in sql:
            raise ZeroDivisionError
        return execute(sql, *rest)

    browser = client("retry_failedjob")
    browser.raise_request_exception = False
    some, one = failed(), failed()
    with connection.execute_wrapper(fails):
        assert act(browser, FAILED, "retry_jobs", [some]).status_code == 500
        assert press(browser, one, "retry").status_code == 500
    assert QueuedJob.objects.count() == 2
    assert not FailedJob.objects.exists()
