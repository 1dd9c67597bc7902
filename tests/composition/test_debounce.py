"""Debounced jobs: of several dispatches with one key only the last one runs."""

from contextlib import nullcontext
from datetime import timedelta
from io import StringIO
from threading import Barrier, Event, Thread

import pytest
from asgiref.sync import async_to_sync
from django.core.management import call_command
from django.db import OperationalError, connection, transaction

from djqueue import Job, batch, chain, current_job, dispatch_many, find, job, queues
from djqueue.databases.now import UtcNow
from djqueue.dispatch.outbox import outbox
from djqueue.drivers.base import State
from djqueue.errors import InvalidJob, NotSerializable, Unsupported
from djqueue.jobs import registry
from djqueue.models import Debounced, JobResult, Outbox, QueuedJob
from djqueue.operations.describe import show
from djqueue.operations.pruning import prune
from djqueue.testing import work
from tests import databases
from tests.support import wait_until
from tests.worker.stores import settings_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def ran():
    return []


@pytest.fixture
def save(ran):
    """A debounced function. It is known to workers for one test: those of other tests look into no
    outbox for its sake.
    """

    @job(name="debounced.save", debounce=30, store_result=True)
    def save(text: str) -> str:
        ran.append(text)
        return text

    yield save
    registry.unregister("debounced.save")


@pytest.fixture
def index(ran):
    class Index(Job, name="debounced.Index", debounce=30, max_wait=40, queue="search"):
        shop: str
        page: int = 0

        def unique_id(self):
            return self.shop

        def handle(self):
            ran.append((self.shop, self.page))

    yield Index
    registry.unregister("debounced.Index")


def let_time_pass():
    """Let every job in the outbox be due, and move what is due."""
    Outbox.objects.update(due_at=UtcNow())
    outbox.replay()


def test_the_last_one_runs(save, ran):
    dispatched = [save.dispatch(text) for text in "abc"]
    first = dispatched[0]
    assert {each.id for each in dispatched} == {first.id}
    assert [each.created for each in dispatched] == [True, False, False]
    assert [each.existing for each in dispatched] == [None, first.id, first.id]
    assert first.status == "delayed"
    assert work() == 0
    assert work(delayed=True) == 1
    assert ran == ["c"]
    assert first.status == "done"
    assert dispatched[2].result() == "c"


def test_a_coroutine_learns_the_same(save):
    first = save.dispatch("a")
    assert async_to_sync(save.adispatch)("b").existing == first.id


def test_it_waits_from_the_last_one_and_never_longer_than_max_wait(save, index):
    save.dispatch("a")
    index("seoul").dispatch()
    long_ago = UtcNow() - timedelta(seconds=25)
    Outbox.objects.update(created_at=long_ago, due_at=UtcNow() + timedelta(seconds=5))
    save.dispatch("b")
    index("seoul").dispatch()
    waits = {
        row.name: (row.due_at - row.created_at).total_seconds() for row in Outbox.objects.all()
    }
    assert 54 < waits["debounced.save"] < 60
    assert waits["debounced.Index"] == pytest.approx(40, abs=0.01)


def test_its_own_id_decides_where_there_is_one(index, ran):
    assert index("seoul").dispatch().created
    assert index("busan").dispatch().created
    assert not index("seoul", page=2).dispatch().created
    assert work(delayed=True) == 2
    assert sorted(ran) == [("busan", 0), ("seoul", 2)]


def test_one_that_was_taken_is_not_replaced(save, ran):
    first = save.dispatch("a")
    let_time_pass()
    second = save.dispatch("b")
    assert second.created
    assert second.id != first.id
    assert work(delayed=True) == 2
    assert ran == ["a", "b"]


def test_a_move_whose_answer_is_lost_is_not_repeated_at_once(save, monkeypatch):
    """It may have been committed, and the job may have run."""
    save.dispatch("a")
    Outbox.objects.update(due_at=UtcNow())
    with monkeypatch.context() as patched:

        def lost(*arguments):
            raise OperationalError("the connection broke")

        patched.setattr(outbox.outbox_rows, "give_up", lost)
        assert outbox.replay() == 0
    assert not QueuedJob.objects.exists()
    assert outbox.replay() == 0, "it is held for a while"
    assert Outbox.objects.get().taken_until is not None


def test_options_of_the_last_one_count(save):
    save.dispatch("a")
    save.using(queue="high", priority=7, tags=["x"]).dispatch("b")
    row = Outbox.objects.get()
    assert (row.queue, row.priority) == ("high", 7)
    assert queues[None].inspector.queues() == ["default", "high"]


def test_a_rollback_leaves_the_former_arguments(save, ran):
    save.dispatch("a")
    with transaction.atomic():
        save.dispatch("b")
        transaction.set_rollback(True)
    with transaction.atomic():
        work_later = save.using(queue="other").dispatch("c")
        transaction.set_rollback(True)
    assert work_later.existing
    assert work(delayed=True) == 1
    assert ran == ["a"]


def test_a_rollback_of_the_first_one_leaves_nothing(save):
    with transaction.atomic():
        save.dispatch("a")
        transaction.set_rollback(True)
    assert save.dispatch("b").created
    assert JobResult.objects.count() == 1


def test_many(save, index, ran):
    jobs = [save.bind("a"), index("seoul"), save.bind("b"), index("busan"), index("seoul", 3)]
    assert dispatch_many(jobs) == 3
    assert dispatch_many(jobs) == 0
    assert work(delayed=True) == 3
    assert sorted(map(str, ran)) == ["('busan', 0)", "('seoul', 3)", "b"]


def test_large_arguments_are_compressed(save, ran):
    save.dispatch("a" * 100_000)
    assert len(Outbox.objects.get().payload) < 10_000
    save.dispatch("b" * 100_000)
    work(delayed=True)
    assert ran == ["b" * 100_000]


class TestOperators:
    """The one that waits is a delayed job of its queue."""

    def test_it_is_listed_and_counted(self, save):
        first = save.dispatch("a")
        assert queues[None].counts().delayed == 1
        (found,) = queues[None].peek(state="delayed")
        assert (found.id, found.name) == (first.id, "debounced.save")
        out = StringIO()
        call_command("queue_jobs", stdout=out)
        assert first.id[-8:] in out.getvalue()

    def test_the_list_has_pages(self, index):
        for shop in "abc":
            index(shop).dispatch()
        with connection.cursor() as cursor:  # as SQLite writes its own times
            cursor.execute("UPDATE djqueue_outbox SET due_at = '2099-01-01 00:00:00.972'")
        inspector = queues[None].inspector
        first = inspector.peek("search", State.DELAYED, 2)
        assert len(first) == 2
        rest = inspector.peek("search", State.DELAYED, 2, first[-1].id)
        assert len({job.id for job in (*first, *rest)}) == 3
        assert inspector.peek("search", State.DELAYED, 2, rest[-1].id) == []

    def test_it_is_shown(self, save):
        first = save.dispatch("a")
        for text in (first.id, first.id[-8:]):
            shown = show(text)
            assert (shown["state"], shown["arguments"]) == ("delayed", {"text": "a"})
            assert shown["debounce_key"] == "debounced.save"

    def test_it_is_cancelled(self, save):
        first = save.dispatch("a")
        assert find(first.id).cancel()
        assert not first.cancel()
        assert first.status == "cancelled"
        assert save.dispatch("b").created

    @pytest.mark.parametrize("command", ["queue_delete", "queue_clear"])
    def test_it_is_deleted(self, save, command):
        first = save.dispatch("a")
        arguments = [first.id] if command == "queue_delete" else ["--force"]
        call_command(command, *arguments, stdout=StringIO())
        assert first.status == "cancelled"
        assert not Outbox.objects.exists()
        assert save.dispatch("b").created

    def test_its_key_is_forgotten(self, save, index):
        save.dispatch("a")
        index("seoul").dispatch()
        work(queue="default", delayed=True)
        assert prune()
        assert [row.key for row in Debounced.objects.all()] == ["debounced.Index:seoul"]


class TestRefusals:
    def refusal(self, **options):
        with pytest.raises(InvalidJob) as caught:
            type("X", (Job,), {"handle": lambda self: None}, name="debounced.X", **options)
        return str(caught.value)

    def test_options_that_contradict(self):
        assert "Add debounce=, or drop max_wait." in self.refusal(max_wait=3)
        assert "unique=True cannot be combined" in self.refusal(debounce=3, unique=True)
        assert "delay=4 cannot be combined" in self.refusal(debounce=3, delay=4)
        assert "max_wait=2 is less than debounce=3" in self.refusal(debounce=3, max_wait=2)
        assert "above 0" in self.refusal(debounce=0)

    def test_a_delay(self, save):
        with pytest.raises(InvalidJob, match="asks for 5 s"):
            save.using(delay=5).dispatch("a")
        assert not Outbox.objects.exists()

    def test_chains_and_batches(self, save):
        steps = [lambda: chain([save.bind("a")]), lambda: chain([]).on_failure(save.bind("a"))]
        steps += [
            lambda: batch([save.bind("a")]).dispatch(),
            lambda: batch([], on_finish=save.bind("a")),
        ]
        for step in steps:
            with pytest.raises(InvalidJob, match="can be no part of a chain or a batch"):
                step()

    def test_what_no_store_takes(self, settings, save):
        settings.DJQUEUE = {"PAYLOADS": {"MAX_SIZE": 1000}}
        with pytest.raises(NotSerializable):
            save.dispatch("a" * 2000)


class TestHere:
    @pytest.fixture(autouse=True)
    def connections(self, settings):
        several = {"DRIVER": "failover", "CONNECTIONS": ["database", "sync"]}
        connections = {"sync": {"DRIVER": "sync"}, "null": {"DRIVER": "null"}}
        connections |= {"database": {"DRIVER": "database"}, "several": several}
        settings.DJQUEUE = {"DEFAULT": "sync", "CONNECTIONS": connections}

    def test_what_keeps_no_jobs_does_not_wait(self, save, ran):
        assert [save.dispatch(text).created for text in "ab"] == [True, True]
        assert ran == ["a", "b"]
        assert save.using(connection="null").dispatch("c").created
        assert not Outbox.objects.exists()

    def test_several_stores_have_no_outbox_in_common(self, save):
        with pytest.raises(Unsupported, match="Dispatch it to one of them: database"):
            save.using(connection="several").dispatch("a")


@pytest.mark.django_db(transaction=True)
class TestElsewhere:
    @pytest.fixture(autouse=True, params=["redis", "beanstalkd", "sqs"])
    def store(self, request, settings):
        if request.param == "redis" and databases.vendor() != "sqlite":
            pytest.skip("what is in SQL is the same for all: once is enough")
        settings.DJQUEUE = settings_of(request.param, request)
        yield request.param
        queues["store"].clear()
        queues["store"].close()

    @pytest.mark.parametrize("open_transaction", [False, True])
    def test_the_last_one_runs(self, save, ran, open_transaction):
        with transaction.atomic() if open_transaction else nullcontext():
            first, second = save.dispatch("a"), save.dispatch("b")
        assert (second.id, second.created, first.status) == (first.id, False, "delayed")
        let_time_pass()
        assert save.dispatch("c").created
        wait_until(lambda: work(max_jobs=1))
        assert ran == ["b"]
        assert first.result() == "b"

    def test_it_is_cancelled_and_cleared(self, save):
        first = save.dispatch("a")
        assert find(first.id).cancel()
        second = save.dispatch("b")
        call_command("queue_delete", second.id, stdout=StringIO())
        assert (second.created, first.status, second.status) == (True, "cancelled", "cancelled")
        third = save.dispatch("c")
        assert queues["store"].clear() == 1
        assert third.status == "cancelled"
        assert not Outbox.objects.exists()


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    """Several dispatchers, and a worker that takes."""

    def in_threads(self, *functions):
        errors = []

        def run(function):
            try:
                function()
            except Exception as error:  # noqa: BLE001 - raised again below
                errors.append(error)
            finally:
                connection.close()

        threads = [Thread(target=run, args=[function]) for function in functions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]

    def test_none_loses_the_last_arguments(self, ran):
        @job(name="debounced.quick", debounce=0.001)
        def quick(number: int) -> None:
            ran.append((number, current_job().id))

        committed, done = [], Event()

        def dispatch(start):
            for number in range(start, start + 15):
                with transaction.atomic():
                    quick.dispatch(number)
                    # Under the lock that the dispatch has: the order of the commits.
                    committed.append(number)

        def replay():
            while not done.is_set():
                outbox.replay()

        def dispatch_all():
            try:
                self.in_threads(*(lambda s=start: dispatch(s) for start in (0, 100, 200)))
            finally:
                done.set()

        try:
            self.in_threads(dispatch_all, replay)
            let_time_pass()
            work()
        finally:
            registry.unregister("debounced.quick")
        assert ran[-1][0] == committed[-1]
        assert len({id for _, id in ran}) == len(ran)
        assert {number for number, _ in ran} <= set(committed)
        assert not Outbox.objects.exists()

    @pytest.mark.skipif(databases.vendor() == "sqlite", reason="it has one writer at a time")
    def test_an_open_transaction_keeps_no_worker_waiting(self, save, index):
        save.dispatch("a")
        index("seoul").dispatch()
        Outbox.objects.update(due_at=UtcNow())
        begun, moved = Barrier(2), Barrier(2)

        def replace():
            with transaction.atomic():
                save.dispatch("b")
                begun.wait()
                moved.wait()

        def worker():
            begun.wait()
            try:
                assert outbox.replay() == 1
            finally:
                moved.wait()

        self.in_threads(replace, worker)
        assert Outbox.objects.get().name == "debounced.save"
        assert QueuedJob.objects.get().name == "debounced.Index"
