"""Jobs that are in no database: on Redis, alone and as a cluster, on beanstalkd, and on SQS."""

from __future__ import annotations

import json
import uuid
from contextlib import contextmanager

import boto3
import pytest
from django.test import override_settings

from djqueue.admin.bulk import bulk
from djqueue.admin.lists.search import Wanted
from djqueue.admin.lists.selection import key_of
from djqueue.admin.lists.terms import OF_JOBS, Search
from djqueue.dispatch.connections import queues
from djqueue.drivers.base import FOREIGN, OutgoingJob, State, StoredJob, WorkerIdentity
from djqueue.drivers.beanstalkd.client import put
from djqueue.models import FailedJob, Run
from tests.admin.support import FAILED, JOBS, client, failed, logged, text_of
from tests.admin.support import said as all_said

pytestmark = [pytest.mark.redis, pytest.mark.django_db]

ALL = ("delete_queuedjob", "force_delete_job", "release_job", "view_payload")


@contextmanager
def connected(**connection):
    """Let ``elsewhere`` be a connection like that, beside the database; give it."""
    known = {"database": {"DRIVER": "database"}, "elsewhere": connection}
    with override_settings(DJQUEUE={"CONNECTIONS": known}):
        yield queues["elsewhere"]
        queues.close_all()


@pytest.fixture(params=["redis_server", "redis_cluster"])
def redis(request):
    server = request.getfixturevalue(request.param)
    options = {"CLUSTER": True} if request.param == "redis_cluster" else {}
    prefix = f"admin-{uuid.uuid4().hex}"
    with connected(DRIVER="redis", URL=server.url, PREFIX=prefix, **options) as found:
        yield found


@pytest.fixture
def beanstalkd(beanstalkd_server):
    options = {"HOST": beanstalkd_server.host, "PORT": beanstalkd_server.port}
    queue = f"admin-{uuid.uuid4().hex[:12]}"
    with connected(DRIVER="beanstalkd", QUEUE=queue, **options) as found:
        yield found
        queues.close_all()  # what a session holds goes back
        queues["elsewhere"].clear()
        assert queues["elsewhere"].is_empty()


def push(connection, name="shop.SendReceipt", delay=0.0, **arguments):
    """A job in the connection's queue; its id."""
    id = str(uuid.uuid4())
    job = OutgoingJob(id, connection.settings.queue, name, text_of(name, arguments), delay)
    connection.driver.push([job])
    return id


def create(server, queue):
    """Make a queue of SQS."""
    boto3.client("sqs", endpoint_url=server.url).create_queue(QueueName=queue)


def reserve(connection):
    """Let a worker begin a job; the session, which holds it."""
    queue = connection.settings.queue
    session = connection.driver.session(WorkerIdentity("web-1:4211", "web-1", 4211, (queue,), 60.0))
    session.join()
    assert len(session.exchange([], [queue], 1).reservations) == 1
    return session


def there(connection):
    """The state of each job, by name."""
    inspector, queue = connection.inspector, connection.settings.queue
    if inspector.capabilities.why_not("peek") is None:
        found = [job for state in State for job in inspector.peek(queue, state)]
    else:
        found = inspector.heads(queue)
    return {job.name: str(job.state) for job in found}


def said(response):
    """The last message: those before it were of pages that the browser has not loaded."""
    return all_said(response)[-1]


class Screen:
    """The jobs list of ``elsewhere`` in an operator's browser, and the pages behind it."""

    def __init__(self, *permissions):
        self.browser = client(*permissions)
        self.url = f"{JOBS}?connection=elsewhere"
        self.kept = "_changelist_filters=connection%3Delsewhere"

    def rows(self, **filters):
        """What the list shows, by name."""
        page = self.browser.get(JOBS, {"connection": "elsewhere", **filters})
        return {row.name: row for row in page.context["cl"].result_list}

    def list(self):
        """All that the list shows."""
        return list(self.browser.get(self.url).context["cl"].result_list)

    def text(self):
        return self.browser.get(self.url).content.decode()

    def page(self, row):
        return self.browser.get(f"{JOBS}{row.pk}/change/?{self.kept}")

    def act(self, action, *rows, answered=True):
        """Send the list's form as the page has it."""
        return self.browser.post(
            self.url,
            {
                "action": action,
                "index": "0",
                "select_across": "0",
                "_selected_action": [row.pk for row in rows],
                "seen": [f"{row.pk}:{row.seen}" for row in rows],
                **({"confirmed": "yes"} if answered else {}),
            },
        )

    def press(self, verb, row, answered=True):
        """Press a button of the job's page."""
        answer = {"confirmed": "yes"} if answered else {}
        url = f"{JOBS}{row.pk}/act/{verb}/?{self.kept}"
        return self.browser.post(url, {"seen": f"{row.pk}:{row.seen}", **answer})


def test_the_list_of_a_redis_connection_is_that_of_a_database(redis):
    push(redis, "shop.Runs")
    reserve(redis)
    push(redis, "shop.Waits", order=17)
    push(redis, "shop.Later", delay=7300)
    screen = Screen(*ALL)
    rows = screen.rows()
    assert {name: row.state for name, row in rows.items()} == {
        "shop.Runs": "reserved",
        "shop.Waits": "waiting",
        "shop.Later": "delayed",
    }
    assert list(screen.rows(state="delayed")) == ["shop.Later"]
    assert list(screen.rows(q="waits")) == ["shop.Waits"]
    assert list(screen.rows(q=rows["shop.Later"].uuid)) == ["shop.Later"]
    assert list(screen.rows(queue="other")) == []
    text = screen.text()
    assert "Delayed · in 2 h" in text
    assert "3 jobs" in text
    assert "?connection=elsewhere" in screen.browser.get(JOBS).content.decode()
    page = screen.page(rows["shop.Waits"]).content.decode()
    assert "order" in page
    assert "Deploy the code that has it" in page
    assert "web-1:4211" in screen.page(rows["shop.Runs"]).content.decode()


def test_a_page_has_a_hundred_jobs_and_the_next_one_the_rest(redis):
    for _ in range(103):
        push(redis)
    screen = Screen()
    numbers = []
    for page in (1, 2):
        found = screen.browser.get(JOBS, {"connection": "elsewhere", "p": page})
        numbers.append(len(found.context["cl"].result_list))
        assert "103 jobs" in found.content.decode()
    assert numbers == [100, 3]


def test_acts_on_redis_are_done_and_logged_as_on_a_database(redis):
    push(redis, "shop.Waits")
    push(redis, "shop.Later", delay=7200)
    screen = Screen(*ALL)
    rows = screen.rows()
    assert said(screen.act("run_jobs_now", rows["shop.Later"])) == "1 delayed job may run now."
    assert there(redis) == {"shop.Waits": "waiting", "shop.Later": "waiting"}
    assert "Delete" in screen.press("delete", rows["shop.Waits"], answered=False).content.decode()
    assert said(screen.press("delete", rows["shop.Waits"])) == "Deleted 1 job."
    assert there(redis) == {"shop.Later": "waiting"}
    last = logged()[-1]
    assert last.object_id == rows["shop.Waits"].uuid
    assert json.loads(last.change_message) == {"verb": "delete", "connection": "elsewhere"}
    told = said(screen.act("delete_jobs", *rows.values()))
    assert told == "1 job was not deleted: it had already finished or been deleted."


def test_a_job_that_a_worker_took_meanwhile_is_left_and_its_worker_named(redis):
    push(redis)
    screen = Screen(*ALL)
    (row,) = screen.rows().values()
    reserve(redis)
    told = said(screen.act("delete_jobs", row))
    assert told.startswith("1 job was not deleted: worker web-1:4211 started it ")
    assert there(redis) == {"shop.SendReceipt": "reserved"}
    told = said(screen.act("force_delete_jobs", row))
    assert told.startswith("1 job was not deleted: the page did not say which attempt was meant.")
    screen.press("force_delete", row)
    assert there(redis) == {"shop.SendReceipt": "reserved"}


def test_a_running_job_is_deleted_in_the_attempt_that_was_seen(redis):
    push(redis)
    session = reserve(redis)
    screen = Screen(*ALL)
    (row,) = screen.rows().values()
    row.seen = "1:another:"
    assert "taken again by web-1:4211" in said(screen.act("force_delete_jobs", row))
    (row,) = screen.rows().values()
    assert said(screen.press("force_delete", row)).startswith("Deleted 1 running job.")
    assert there(redis) == {}
    session.leave()


@pytest.mark.parametrize(
    ("wanted", "name", "fits"),
    [
        ("SendMail", "shop.SendMail", True),
        ("shop.sendmail", "shop.SendMail", True),
        ("mail", "shop.SendMail", False),
        ("*mail", "shop.SendMail", True),
        ("send*", "shop.SendMail", True),
        ("end*", "shop.SendMail", False),
        ("s*p.*d*l", "shop.SendMail", True),
        ("shop.*", "other.shop.SendMail", True),
        ("sendmail*mail", "shop.SendMail", False),
        ("a*a*a*a*b", "a" * 5000, False),
        ("a*a*a*a*b", "a" * 5000 + "b", True),
    ],
)
def test_a_name_with_stars_fits_in_one_pass(wanted, name, fits):
    waiting = (State.WAITING, 0, 0, 0, None, None, None, None, None)
    job = StoredJob(str(uuid.uuid4()), "default", name, "{}", *waiting)
    search = Search.read(f"job:{wanted}", OF_JOBS, values=False)
    assert Wanted(search).fits(job) is fits


def test_all_of_another_store_are_only_those_that_the_form_names(redis):
    for name in ("shop.First", "shop.Second"):
        push(redis, name)
    screen = Screen(*ALL)
    rows = screen.rows()
    form = {"action": "delete_jobs", "index": "0", "select_across": "1", "newest": "9"}
    named = {"_selected_action": [rows["shop.First"].pk], "confirmed": "yes"}
    screen.browser.post(screen.url, form)
    assert sorted(there(redis)) == ["shop.First", "shop.Second"]
    assert said(screen.browser.post(screen.url, {**form, **named})) == "Deleted 1 job."
    assert sorted(there(redis)) == ["shop.Second"]


def test_permissions_are_those_of_a_database(redis):
    push(redis)
    screen = Screen("release_job")
    (row,) = screen.rows().values()
    assert screen.press("delete", row).status_code == 403
    screen.act("delete_jobs", row)
    assert there(redis) == {"shop.SendReceipt": "waiting"}
    assert client(view=False).get(JOBS, {"connection": "elsewhere"}).status_code == 403


def test_a_failed_job_is_retried_on_redis(redis):
    row = failed(connection="elsewhere", queue=redis.settings.queue)
    browser = client("retry_failedjob")
    url = f"{FAILED}{row.pk}/act/retry/"
    assert said(browser.post(url, {"confirmed": "yes"})).startswith("Retried 1 job.")
    assert there(redis) == {row.name: "waiting"}
    assert not FailedJob.objects.exists()


@pytest.mark.beanstalkd
def test_beanstalkd_shows_the_next_jobs_and_says_why_not_more(beanstalkd):
    for name in ("shop.First", "shop.Second"):
        push(beanstalkd, name)
    push(beanstalkd, "shop.Later", delay=3600, order=17)
    screen = Screen(*ALL)
    rows = screen.rows()
    assert sorted(rows) == ["shop.First", "shop.Later"]
    text = screen.text()
    assert "beanstalkd shows only the job that is next" in text
    assert f"{beanstalkd.settings.queue}: 2 waiting, 1 delayed, 0 running" in text
    assert "order" in screen.page(rows["shop.Later"]).content.decode()
    assert said(screen.press("run_now", rows["shop.Later"])) == "1 delayed job may run now."
    assert said(screen.act("delete_jobs", rows["shop.First"])) == "Deleted 1 job."
    reserve(beanstalkd)
    told = said(screen.act("delete_jobs", rows["shop.First"], rows["shop.Later"]))
    assert "not deleted" in told


@pytest.mark.beanstalkd
def test_a_job_that_runs_on_beanstalkd_is_left_until_asked_to(beanstalkd):
    id = push(beanstalkd)
    screen = Screen(*ALL)
    (row,) = screen.rows(queue=beanstalkd.settings.queue).values()
    session = reserve(beanstalkd)
    told = said(screen.act("delete_jobs", row))
    assert told.startswith("1 job was not deleted: worker")
    (now,) = beanstalkd.inspector.find([row.pk])
    row.seen = now.reservation
    assert said(screen.press("force_delete", row)).startswith("Deleted 1 running job.")
    assert Run.objects.get(uuid=id).cancelled  # the outcome of the attempt is ignored
    session.leave()


@pytest.mark.beanstalkd
def test_a_body_whose_id_is_no_uuid_is_listed_as_foreign(beanstalkd):
    body = b"djq1 " + b"z" * 36 + b" n 0 60 -\n{}"
    beanstalkd.inspector._client.ask([put(body, 1024, 0, 60)], use=beanstalkd.settings.queue)
    screen = Screen(*ALL)
    rows = screen.rows(queue=beanstalkd.settings.queue)
    assert list(rows) == [FOREIGN]
    assert screen.page(rows[FOREIGN]).status_code == 200
    assert said(screen.act("delete_jobs", rows[FOREIGN])) == "Deleted 1 job."


def test_a_store_that_does_not_answer_says_so_in_place_of_a_list():
    with connected(DRIVER="redis", URL="redis://127.0.0.1:1/0"):
        screen = Screen(*ALL)
        assert "127.0.0.1:1" in screen.text()
        id = str(uuid.uuid4())
        url = f"{JOBS}{id}/act/run_now/?{screen.kept}"
        told = all_said(screen.browser.post(url, {"confirmed": "yes"}))[0]
        assert told.startswith("1 job was left as it is: ")
        assert "127.0.0.1:1" in told


@pytest.mark.sqs
def test_sqs_can_only_count_and_the_page_says_why(sqs_server):
    create(sqs_server, "admin-counts")
    server = {"ENDPOINT_URL": sqs_server.url, "PREFIX": sqs_server.prefix, "WAIT": 0}
    with connected(DRIVER="sqs", QUEUE="admin-counts", **server) as sqs:
        push(sqs)
        text = Screen().text()
        assert "SQS shows messages only to those who receive them" in text
        assert "admin-counts: 1 waiting, 0 delayed, 0 running" in text


@pytest.mark.sqs
@pytest.mark.parametrize("key", ["abc", "x00", str(uuid.uuid4())])
def test_a_job_that_sqs_cannot_have_is_refused_in_words(sqs_server, key):
    create(sqs_server, "admin-no-uuid")
    server = {"ENDPOINT_URL": sqs_server.url, "PREFIX": sqs_server.prefix, "WAIT": 0}
    with connected(DRIVER="sqs", QUEUE="admin-no-uuid", **server):
        screen = Screen(*ALL)
        assert screen.browser.get(f"{JOBS}{key}/change/?{screen.kept}").status_code == 302
        form = {"action": "delete_jobs", "index": "0", "confirmed": "yes"}
        listed = screen.browser.post(screen.url, {**form, "_selected_action": [key]})
        pressed = screen.browser.post(f"{JOBS}{key}/act/delete/?{screen.kept}", form)
        for answer in (listed, pressed):
            assert answer.status_code == 302
            assert "1 job was not deleted: " in str(all_said(answer))


@pytest.mark.parametrize("name", [str(uuid.uuid4()), "no uuid\udcff at all", "x41"])
def test_any_id_of_a_store_fits_in_a_form(name):
    from djqueue.admin.lists.selection import stored_key

    assert stored_key(key_of(name)) == name


def test_all_that_match_on_redis_are_deleted_in_steps(redis, monkeypatch):
    monkeypatch.setattr(bulk, "SLICE", 2)
    monkeypatch.setattr(bulk, "STEP", 0.0)
    push(redis, "shop.Kept")
    reserve(redis)
    for number in range(5):
        push(redis, "shop.Gone", delay=60.0 if number > 2 else 0.0)
        push(redis, "shop.Other")
    screen = Screen(*ALL, "bulk_operations")
    query = "?connection=elsewhere&q=job:shop.Gone"
    assert "all/delete/" in screen.text()
    question = screen.browser.post(f"{JOBS}all/delete/{query}")
    assert "All jobs that match" in question.content.decode()
    response = screen.browser.post(f"{JOBS}all/delete/{query}", {"confirmed": "yes"})
    push(redis, "shop.Gone", delay=3600.0)
    for _ in range(20):
        if "/bulk/" not in response.url:
            break
        response = screen.browser.post(response.url.partition("?")[0])
    assert said(response) == "Deleted 5 jobs."
    names = sorted(row.name for row in screen.list())
    assert names == ["shop.Gone", "shop.Kept", *["shop.Other"] * 5]
    [entry] = logged()
    assert json.loads(entry.change_message)["connection"] == "elsewhere"


def test_all_of_redis_are_counted_and_those_that_run_are_left(redis):
    for _ in range(3):
        push(redis)
    reserve(redis)
    screen = Screen(*ALL, "bulk_operations")
    url = f"{JOBS}all/delete/?connection=elsewhere"
    assert "3 jobs" in screen.browser.post(url).content.decode()
    screen.browser.post(url, {"confirmed": "yes"})
    assert len(there(redis)) == 1
    [entry] = logged()
    recorded = json.loads(entry.change_message)
    assert (recorded["changed"], recorded["skipped"], recorded["matched"]) == (2, 1, 3)


def test_where_a_store_lists_nothing_all_is_not_offered(beanstalkd):
    push(beanstalkd)
    assert "all/delete/" not in Screen(*ALL).text()
