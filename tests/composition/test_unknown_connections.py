"""What follows from a job is for a connection that the job's worker does not know."""

import pytest

from djqueue import batch, chain
from djqueue.models import Outbox, QueuedJob
from djqueue.operations.pruning import prune
from djqueue.testing import work
from tests.composition import jobs
from tests.composition.jobs import ran

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def nothing_ran():
    ran.clear()


def _connections(*names):
    connections = {name: {"DRIVER": "database"} for name in names}
    return {"CONNECTIONS": connections, "DEFAULT": "database"}


def _step():
    chain([jobs.number.bind(1), jobs.alert.bind("it").using(connection="new")]).dispatch()


def _callback():
    batch([jobs.number.bind(1)], on_finish=jobs.alert.bind("it").using(connection="new")).dispatch()


def _on_failure():
    chain([jobs.breaks.bind()]).on_failure(jobs.alert.bind("it").using(connection="new")).dispatch()


@pytest.mark.parametrize("dispatch", [_step, _callback, _on_failure])
def test_it_waits_for_a_worker_that_knows_it(settings, dispatch):
    settings.DJQUEUE = _connections("database", "new")
    dispatch()
    jobs.number.dispatch(2)
    settings.DJQUEUE = _connections("database")
    assert work() == 2
    assert (2, None) in ran
    assert not QueuedJob.objects.exists()
    assert Outbox.objects.get().connection == "new"
    settings.DJQUEUE = _connections("database", "new")
    prune()
    assert not Outbox.objects.exists()
    assert work("new") == 1
    assert "it" in ran
