"""What a request may ask: nothing that would tell what a page hides, and nothing that breaks it."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import models
from django.test import Client

from djqueue.admin import (
    FailedJobAdmin,
    JobBatchAdmin,
    JobResultAdmin,
    OutboxAdmin,
    QueuedJobAdmin,
    WorkerAdmin,
)
from djqueue.models import FailedJob, JobBatch, JobResult, Outbox, QueuedJob, Worker
from tests.admin.support import (
    BATCHES,
    FAILED,
    JOBS,
    PARKED,
    RESULTS,
    WORKERS,
    client,
    failed,
    text_of,
    waiting,
    worker,
)

pytestmark = pytest.mark.django_db

SCREENS: dict[str, tuple[type[models.Model], type[admin.ModelAdmin]]] = {
    JOBS: (QueuedJob, QueuedJobAdmin),
    FAILED: (FailedJob, FailedJobAdmin),
    WORKERS: (Worker, WorkerAdmin),
    BATCHES: (JobBatch, JobBatchAdmin),
    RESULTS: (JobResult, JobResultAdmin),
    PARKED: (Outbox, OutboxAdmin),
}
LOOKUPS = ("", "__exact", "__contains", "__regex", "__gt", "__startswith", "__in", "__isnull")


def superuser() -> Client:
    browser = Client()
    browser.force_login(User.objects.create_superuser("root"))
    return browser


@pytest.mark.anywhere  # all that is refused is refused before anything is asked
@pytest.mark.parametrize("url", SCREENS)
@pytest.mark.parametrize("browser", [client, superuser], ids=["viewer", "superuser"])
def test_no_column_can_be_asked_for(url, browser):
    waiting(arguments={"password": "hunter2"})
    failed()
    worker()
    model, screen = SCREENS[url]
    own = {each.parameter_name for each in screen.list_filter}
    asking = browser()
    for field in model._meta.concrete_fields:
        for lookup in LOOKUPS:
            name = f"{field.name}{lookup}"
            if name not in own:
                answer = asking.get(url, {name: "1"})
                assert answer.status_code == 400, name
    assert asking.get(url, {"_to_field": "payload"}).status_code == 400
    assert asking.get(url, {"session__user": "1"}).status_code == 400


def test_every_way_that_the_pages_offer_still_works():
    waiting(queue="mail")
    failed(queue="mail")
    for url, questions in {
        JOBS: ["state=waiting", "queue=mail", "database=default", "q=Send", "o=5", "p=1"],
        FAILED: ["failed=15m", "connection=database", "queue=mail", "q=exc:*Stock", "o=-5"],
        WORKERS: ["database=default", "o=6"],
    }.items():
        for question in questions:
            assert client().get(f"{url}?{question}").status_code == 200, question


@pytest.mark.parametrize("value", ["%00", "a" * 5000, "%ED%A0%80", "%1b[31m"])
def test_values_that_no_name_has_find_nothing(value):
    waiting()
    failed()
    for url in (f"{JOBS}?queue=", f"{FAILED}?queue=", f"{FAILED}?connection=", f"{JOBS}?q="):
        answer = client().get(url + value, follow=True)
        assert answer.status_code == 200, url
    assert client().get(f"{BATCHES}%00/change/").status_code in (302, 404)


@pytest.mark.parametrize(
    "search", ["x " * 1000, "job:" + "*" * 190, "job:" + "a*" * 90, "'" * 200, "q" * 201]
)
def test_a_search_is_bounded(search):
    waiting()
    failed()
    for url in (JOBS, FAILED):
        assert client().get(url, {"q": search}).status_code == 200


def test_messages_cannot_be_guessed_by_those_who_may_not_see_them():
    failed(exception_message="the order of Anna")
    viewer = client(view=False)
    from django.contrib.auth.models import Permission

    user = User.objects.get()
    user.user_permissions.add(Permission.objects.get(codename="view_failedjob"))
    assert viewer.get(FAILED, {"q": "Anna"}).context["cl"].result_count == 0
    assert client().get(FAILED, {"q": "Anna"}).context["cl"].result_count == 1


def test_tags_are_values():
    row = waiting(
        payload=text_of("shop.A", {}).replace('"arguments"', '"tags":["for:7"],"arguments"')
    )
    page = f"{JOBS}{row.pk}/change/"
    assert "for:7" not in client().get(page).content.decode()
    assert "for:7" in client("view_payload").get(page).content.decode()
