"""Encrypted jobs in every store, run by real workers."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from redis import Redis

from djqueue import chain, context, queues
from djqueue.models import FailedJob, JobResult
from djqueue.operations.retrying import retry
from tests.app import secret
from tests.encryption import seen
from tests.encryption.seen import MARK
from tests.support import start_worker, wait_until

pytestmark = pytest.mark.usefixtures("ledger")


@pytest.fixture
def pushed(store, monkeypatch):
    """What the driver is given by this process."""
    driver, given = queues["store"].driver, []

    def noting(push):
        def noted(jobs, *rest, **more):
            given.extend(jobs)
            return push(jobs, *rest, **more)

        return noted

    for name in ("push", "push_unique"):
        if hasattr(driver, name):
            monkeypatch.setattr(driver, name, noting(getattr(driver, name)))
    return given


def in_store(store, request):
    if store == "redis":
        server = request.getfixturevalue("redis_aof_server")
        with Redis.from_url(server.url) as client:
            yield from seen.redis(client)
    if store in ("redis", "cluster"):
        yield from seen.peeked("store")


def test_nothing_is_seen_in_the_store(store, pushed, request, caplog):
    operator = User.objects.create_superuser("operator")

    def places():
        ids = [str(row.uuid) for row in FailedJob.objects.all()]
        ids += [str(row.pk) for row in JobResult.objects.all()]
        return seen.found(
            seen.tables("default"),
            seen.pages(operator),
            seen.output(ids),
            in_store(store, request),
        )

    with context.scope(note=MARK):
        failing = secret.FailsWithSecret(MARK).dispatch()
        large = secret.keeps_secret.dispatch(MARK + "".join(map(str, range(80_000))))
        chain([secret.keeps_secret.bind(MARK), secret.follows_secret.bind()]).dispatch()
    assert len(pushed) >= 3
    assert not seen.reveals([tuple(job) for job in pushed])
    assert places() == []
    with start_worker("store", "--json") as worker:
        wait_until(lambda: failing.status == "failed" and large.result(timeout=30))
        wait_until(lambda: JobResult.objects.filter(status="done").count() == 3)
        assert places() == []
        assert retry().moved == 1
        wait_until(lambda: FailedJob.objects.exists())
        assert not seen.reveals(worker.output)
    assert JobResult.objects.get(name="app.follows_secret").value is not None
    assert places() == []
    assert not seen.reveals(caplog.text)
    queues["store"].clear()
