"""What Prometheus reads, parsed by its own client."""

from __future__ import annotations

import json
import re
import time
import uuid
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from djqueue.dispatch import controls
from djqueue.metrics.exposition import Family, exposition
from djqueue.metrics.families import AT_MOST, MOST_JOBS, families
from djqueue.models import FailedJob, Minute, QueuedJob, Worker
from djqueue.statistics.histogram import BOUNDS, COUNTS
from djqueue.statistics.tally import Counts
from djqueue.statistics.writing import write
from tests.app.jobs import record
from tests.docs.markdown import ROOT

pytestmark = pytest.mark.django_db

TOKEN = "sesame-sesame-sesame"
HOSTILE = 'a\\"}\n# TYPE x counter\r\N{SNOWMAN}'


def parsed(text):
    """Every series by name and labels; the parser refuses what is no exposition."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found, f"twice: {key}"
            found[key] = sample.value
    return found


def read():
    return parsed(exposition(families()))


def value(found, name, **labels):
    return found.get((name, frozenset(labels.items())))


def ended(name, queue="default", **numbers):
    counts = [numbers.get(column, 0) for column in COUNTS]
    write("default", "database", [Counts(queue, name, counts)], time.time())


@pytest.fixture
def _token(settings):
    settings.DJQUEUE = {"METRICS_TOKEN": TOKEN}


def worker(state, queues="default"):
    now = timezone.now()
    ends = timedelta(seconds=-60 if state == "lost" else 600)
    running = json.dumps([["a", "b", 1.0]]) if state == "running" else ""
    Worker.objects.create(
        name=state,
        hostname=state,
        pid=1,
        connection="database",
        queues=queues,
        started_at=now,
        alive_until=now + ends,
        running=running,
    )


def test_the_state_of_queues_and_workers():
    for _ in range(3):
        record.dispatch("a")
    record.using(delay=60, queue="mail").dispatch("b")
    worker("running", "mail,default")
    worker("lost")
    controls.pause("database", "mail")
    FailedJob.objects.create(
        uuid=uuid.uuid4(), connection="database", queue="default", failed_at=timezone.now()
    )
    found = read()
    mail = {"connection": "database", "queue": "mail"}
    default = {"connection": "database", "queue": "default"}
    assert value(found, "djqueue_jobs", **default, state="ready") == 3
    assert value(found, "djqueue_jobs", **mail, state="delayed") == 1
    assert value(found, "djqueue_jobs", **mail, state="stuck") == 0
    assert 0 < value(found, "djqueue_oldest_ready_seconds", **default) < 60
    assert value(found, "djqueue_oldest_ready_seconds", **mail) == 0
    assert value(found, "djqueue_queue_paused", **mail) == 1
    assert value(found, "djqueue_queue_paused", **default) == 0
    assert value(found, "djqueue_failed_jobs", **default) == 1
    assert value(found, "djqueue_workers", **mail, state="running") == 1
    assert value(found, "djqueue_workers", **default, state="lost") == 1
    assert value(found, "djqueue_workers", **mail, state="idle") == 0
    assert value(found, "djqueue_scrape_errors") == 0


def test_what_ended_is_counted_for_ever():
    ended("shop.Pack", done=5, failed=1, released=2, runtime_6=3, runtime_15=2, wait_0=4)
    found = read()
    what = {"connection": "database", "queue": "default", "job": "shop.Pack"}
    for outcome, number in {"done": 5, "failed": 1, "released": 2}.items():
        assert value(found, "djqueue_jobs_processed_total", **what, outcome=outcome) == number
    took = "djqueue_job_duration_seconds_bucket"
    assert value(found, took, **what, le=f"{BOUNDS[5]:g}") == 0
    assert value(found, took, **what, le=f"{BOUNDS[6]:g}") == 3
    assert value(found, took, **what, le="+Inf") == 5
    assert value(found, "djqueue_job_duration_seconds_count", **what) == 5
    assert value(found, "djqueue_job_wait_seconds_count", **what) == 4


def test_jobs_beyond_the_first_are_summed_up():
    """Each keeps its series when another comes, so that no counter ever falls."""
    names = [f"shop.Job{number:03}" for number in range(MOST_JOBS + 2, 0, -1)]
    for name in names:
        ended(name, done=2)
    found = read()
    series = "djqueue_jobs_processed_total"
    what = {"connection": "database", "queue": "default", "outcome": "done"}
    assert value(found, series, **what, job=names[MOST_JOBS - 1]) == 2
    assert value(found, series, **what, job=names[MOST_JOBS]) is None
    assert value(found, series, **what, job="other") == 4


def test_hostile_names_stay_within_their_label():
    family = Family("djqueue_jobs", "gauge", "Jobs.")
    family.add(1, queue=HOSTILE, job="\udcff\0")
    ((key, number),) = parsed(exposition([family])).items()
    assert (key[0], number) == ("djqueue_jobs", 1)
    assert dict(key[1]) == {"queue": HOSTILE, "job": "?\N{REPLACEMENT CHARACTER}"}
    ended(HOSTILE, done=1)
    what = {"connection": "database", "queue": "default", "outcome": "done"}
    assert value(read(), "djqueue_jobs_processed_total", **what, job=HOSTILE) == 1


def test_it_asks_few_questions_and_counts_up_to_a_limit(monkeypatch):
    monkeypatch.setattr("djqueue.metrics.families.AT_MOST", 3)
    for number in range(5):
        record.using(queue=f"q{number % 2}").dispatch("a")
        record.using(queue="q0").dispatch("a")
        ended("shop.Pack", queue=f"old{number}", failed=1)
    worker("idle")
    with CaptureQueriesContext(connection) as asked:
        found = read()
    assert len(asked) <= 8, [each["sql"] for each in asked]
    assert value(found, "djqueue_jobs", connection="database", queue="q0", state="ready") == 3
    assert value(found, "djqueue_failed_jobs", connection="database", queue="old4") == 0


@pytest.mark.usefixtures("_token")
def test_a_token_opens_it_and_nothing_else_does(client):
    address = "/jobs/metrics/"
    answer = client.get(address, headers={"authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    assert answer["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "no-store" in answer["Cache-Control"]
    assert parsed(answer.content.decode())
    for given in ("", "Bearer ", f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer None"):
        assert client.get(address, headers={"authorization": given}).status_code == 403
    assert client.get(f"{address}?token={TOKEN}").status_code == 403
    assert client.post(address).status_code == 405


def test_users_who_may_see_the_overview_may_read_it(client):
    assert client.get("/jobs/metrics/", headers={"authorization": "Bearer None"}).status_code == 403
    user = User.objects.create_user("anna")
    client.force_login(user)
    assert client.get("/jobs/metrics/").status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="view_overview"))
    assert client.get("/jobs/metrics/").status_code == 200


@pytest.mark.usefixtures("_token")
def test_without_a_database_it_says_so(client, monkeypatch):
    def refuse(*_):
        raise OperationalError("gone, host=secret")

    with connection.execute_wrapper(refuse):
        answer = client.get("/jobs/metrics/", headers={"authorization": f"Bearer {TOKEN}"})
    assert (answer.status_code, answer.content) == (503, b"The database does not answer.\n")


def test_a_store_that_is_away_leaves_the_others_their_series(settings):
    away = {"DRIVER": "redis", "URL": "redis://127.0.0.1:1/0"}
    settings.DJQUEUE = {"CONNECTIONS": {"database": {"DRIVER": "database"}, "away": away}}
    record.dispatch("a")
    found = read()
    assert value(found, "djqueue_scrape_errors") == 1
    waiting = {"connection": "database", "queue": "default", "state": "ready"}
    assert value(found, "djqueue_jobs", **waiting) == 1
    assert not [key for key in found if dict(key[1]).get("connection") == "away"]


def test_the_page_names_every_family():
    page = (ROOT / "docs" / "metrics.md").read_text()
    for family in families():
        assert f"| `{family.name}` | {family.kind} |" in page
    assert f"{AT_MOST:,}" in page
    assert str(MOST_JOBS) in page
    assert (QueuedJob.objects.count(), Minute.objects.count()) == (0, 0)


SERIES = re.compile(r"\bdjqueue_[a-z_]+")


@pytest.mark.parametrize("name", ["alerts.yaml", "dashboard.json"])
def test_the_rules_and_the_dashboard_ask_for_what_there_is(name):
    path = ROOT / "docs" / "prometheus" / name
    if name == "alerts.yaml":
        yaml = pytest.importorskip("yaml")
        (group,) = yaml.safe_load(path.read_text())["groups"]
        asked = [rule["expr"] for rule in group["rules"]]
        assert all(rule["annotations"]["remedy"] for rule in group["rules"])
    else:
        panels = json.loads(path.read_text())["panels"]
        asked = [target["expr"] for panel in panels for target in panel["targets"]]
    known = {each.name for each in families()}
    named = {re.sub("_bucket$", "", found) for expr in asked for found in SERIES.findall(expr)}
    assert named
    assert named <= known
