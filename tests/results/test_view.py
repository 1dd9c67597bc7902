"""The result of a job as JSON, for its owner alone."""

import uuid

import pytest
from django.contrib.auth.models import User
from django.template import Context, Template
from django.test import Client

from djqueue import context
from djqueue.testing import work
from tests.admin.support import unreadable
from tests.app.jobs import keeping
from tests.composition import jobs

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner():
    return User.objects.create_user("owner")


@pytest.fixture
def ask():
    def ask(id, user=None, **headers):
        client = Client()
        if user is not None:
            client.force_login(user)
        return client.get(f"/jobs/{id}/", **headers)

    return ask


def dispatched_by(user, job):
    with context.scope(user_id=user.pk):
        return job.dispatch()


def test_the_owner_sees_it_from_the_dispatch_on(owner, ask):
    dispatched = dispatched_by(owner, jobs.adds.bind(1, 2))
    answer = ask(dispatched.id, owner)
    assert answer.json() == {
        "id": dispatched.id,
        "status": "waiting",
        "progress": None,
        "value": None,
        "error": None,
        "finished_at": None,
    }
    assert set(answer["Cache-Control"].split(", ")) == {"private", "no-store"}
    work()
    found = ask(dispatched.id, owner).json()
    assert found.pop("finished_at")
    assert found == {
        "id": dispatched.id,
        "status": "done",
        "progress": {"done": 1, "total": 2, "percent": 50, "message": "half of it"},
        "value": 3,
        "error": None,
    }


def test_to_everybody_else_there_is_no_such_job(owner, ask):
    dispatched = dispatched_by(owner, jobs.adds.bind(1, 2))
    of_no_user = jobs.adds.dispatch(1, 2)
    other = User.objects.create_superuser("other")
    answers = [
        ask(dispatched.id, other),
        ask(dispatched.id),
        ask(of_no_user.id, owner),
        ask(of_no_user.id),
        ask(uuid.uuid4(), owner),
    ]
    assert {each.status_code for each in answers} == {404}
    assert len({each.content for each in answers}) == 1
    assert {each["Cache-Control"] for each in answers} == {answers[0]["Cache-Control"]}
    assert "no-store" in answers[0]["Cache-Control"]


def test_a_failure_has_its_error(owner, ask):
    dispatched = dispatched_by(owner, jobs.Kept("give up"))
    work()
    found = ask(dispatched.id, owner).json()
    assert found["status"] == "failed"
    assert found["error"].endswith("enough")


def test_values_of_other_types_are_plain(owner, ask):
    dispatched = dispatched_by(owner, jobs.Kept("decimal"))
    work()
    assert ask(dispatched.id, owner).json()["value"] == {"price": "1.50"}


def test_nothing_is_changed_by_asking(owner):
    client = Client()
    client.force_login(owner)
    assert client.post(f"/jobs/{uuid.uuid4()}/").status_code == 405


def test_the_tags_are_one_element_and_one_script(owner):
    dispatched = dispatched_by(owner, keeping.kept.bind(1))
    text = (
        "{% load djqueue %}{% job_progress job %}{% job_progress job.id %}{% job_progress_script %}"
    )
    html = Template(text).render(Context({"job": dispatched, "csp_nonce": "n0nce"}))
    assert html.count(f'data-djqueue-url="/jobs/{dispatched.id}/"') == 2
    assert '<script src="/static/djqueue/progress.js" defer nonce="n0nce"></script>' in html


def test_results_whose_database_is_away_are_a_503_after_which_pages_come_back(owner, ask):
    dispatched = dispatched_by(owner, jobs.adds.bind(1, 2))
    with unreadable("djqueue_results"):
        answer = ask(dispatched.id, owner)
    assert answer.status_code == 503
    assert answer.json() == {"error": "The results cannot be read now."}
