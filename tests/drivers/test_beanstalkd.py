"""The beanstalkd driver, on a real server with and without a binlog."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
from django.db import DatabaseError, connections
from django.db.models.functions import Now

from djqueue.checks.connections import check_values
from djqueue.conf import ConnectionSettings
from djqueue.drivers.base import (
    FOREIGN,
    Driver,
    OutgoingJob,
    Reservation,
    Settlement,
    Verdict,
    WorkerIdentity,
)
from djqueue.drivers.beanstalkd import BeanstalkdDriver, client
from djqueue.drivers.beanstalkd.client import Client
from djqueue.drivers.beanstalkd.session import BeanstalkdSession
from djqueue.drivers.guard.taking import Taking
from djqueue.errors import QueueError, QueueUnavailable
from djqueue.models import Run
from djqueue.testing import DriverContract
from tests import services
from tests.services.proxy import Mode
from tests.support import wait_until

pytestmark = [pytest.mark.beanstalkd, pytest.mark.django_db(transaction=True)]


class LookingSession(BeanstalkdSession):
    """Finds what others left behind when it is asked for it: a worker's next exchange does."""

    tube = "default"

    def recover(self, limit: int, *, late: float = 0.0) -> list[Reservation]:
        self.exchange([], [self.tube], limit)
        return super().recover(limit)


class Looking(BeanstalkdDriver):
    def __init__(self, settings: ConnectionSettings, tube: str) -> None:
        super().__init__(settings)
        self._session = LookingSession(
            self._client, self._waiting_client, self._guard, hold_for=self._hold_for, block_for=5
        )
        self._session.tube = tube


def connection(server: services.Beanstalkd, **options: Any) -> ConnectionSettings:
    retry_after = options.pop("RETRY_AFTER", 10)
    values = {"HOST": server.host, "PORT": server.port, **options}
    return ConnectionSettings("bean", "beanstalkd", retry_after=retry_after, options=values)


class OnBeanstalkd(DriverContract):
    lease = 2.0
    options: dict[str, Any] = {}

    @pytest.fixture(autouse=True)
    def _server(self, beanstalkd_server):
        self.server = beanstalkd_server

    def make_driver(self) -> Driver:
        return Looking(connection(self.server, **self.options), self.queue)

    def kill_lease(self) -> None:
        """Cut the connections: that ends reservations at once. Their time alone does not always,
        since the server sometimes forgets connections that say nothing any more.
        """
        for driver in self.__dict__.get("_drivers", []):
            driver.close()

    @pytest.mark.skip("beanstalkd tells the age of the job that is next, whatever its priority")
    def test_the_oldest_waiting_job_tells_since_when(self): ...

    @pytest.mark.skip("what a connection held is lost to it when it breaks")
    def test_a_lease_that_is_over_still_counts_until_the_job_is_taken(self): ...


@pytest.mark.database
@pytest.mark.scenario
class TestContract(OnBeanstalkd):
    """A driver with guard rows, on each vendor."""


class TestContractWithBinlog(OnBeanstalkd):
    @pytest.fixture(autouse=True)
    def _server(self, beanstalkd_binlog_server):
        self.server = beanstalkd_binlog_server

    def test_clearing_takes_a_long_queue(self):
        """Shorter than elsewhere: each of its writes is on disk before it is answered."""
        self.pusher.push([self.job() for _ in range(200)])
        self.pusher.push([self.job(delay=600) for _ in range(200)])
        assert self.inspector.clear(self.queue) == 400
        assert self.nothing_is_left()


# -- what only beanstalkd does ---------------------------------------------------------------------


@pytest.fixture
def queue():
    return f"only-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def make(beanstalkd_server):
    made: list[BeanstalkdDriver] = []

    def make(**options: Any) -> BeanstalkdDriver:
        made.append(BeanstalkdDriver(connection(beanstalkd_server, **options)))
        return made[-1]

    yield make
    for driver in made:
        driver.close()


@pytest.fixture
def raw(beanstalkd_server):
    """Another program that speaks to the server."""
    opened = Client(beanstalkd_server.host, beanstalkd_server.port, 5)
    yield opened
    opened.close()


def job(queue: str, number: int = 0, **values: Any) -> OutgoingJob:
    return OutgoingJob(str(uuid.uuid4()), queue, "shop.Pack", f'{{"number":{number}}}', **values)


def reserve(driver: Driver, queue: str, limit: int = 1) -> list[Reservation]:
    found: list[Reservation] = []
    wait_until(lambda: found.extend(driver.session().exchange([], [queue], limit)[1]) or found, 5)
    return found


def test_a_stale_worker_cannot_delete_a_job_that_waits_for_its_next_try(make, queue):
    """The server itself would let it: anybody may delete a job that nobody has reserved."""
    stale, other = make(), make()
    stale.push([job(queue)])
    (held,) = reserve(stale, queue)
    stale._client.close()
    assert other.session().exchange([], [queue], 1).reservations == []
    (again,) = other.session().recover(1)
    assert other.session().settle([Settlement(again, Verdict.RELEASE, delay=60)]) == set()
    assert stale.session().settle([Settlement(held)]) == {held.id}
    assert other.inspector().counts(queue)[:3] == (0, 1, 0)


def test_order_is_priority_then_dispatch(make, queue):
    driver = make()
    jobs = [job(queue, n, priority=p) for n, p in enumerate((0, -100, 100, 0, 7))]
    driver.push(jobs)
    assert [r.id for r in reserve(driver, queue, 5)] == [jobs[n].id for n in (2, 4, 0, 3, 1)]


def test_a_job_that_is_tried_again_goes_to_the_end_and_one_that_was_never_begun_keeps_its_place(
    make, queue
):
    driver = make()
    jobs = [job(queue, n) for n in range(4)]
    driver.push(jobs)
    tried, unbegun = driver.session().exchange([], [queue], 2).reservations
    assert driver.session().settle([Settlement(tried, Verdict.RELEASE, history="[]")]) == set()
    assert driver.session().settle([Settlement(unbegun, Verdict.RETURN)]) == set()
    found = reserve(driver, queue, 4)
    assert [r.id for r in found] == [jobs[n].id for n in (1, 2, 3, 0)]
    assert [(r.attempt, r.history) for r in found[-1:]] == [(2, "[]")]
    assert found[-1].payload == jobs[0].payload


def test_what_a_broken_connection_held_is_lost_to_it(make, queue):
    driver = make()
    driver.push([job(queue, n) for n in range(3)])
    held = reserve(driver, queue, 3)
    driver.close()
    assert driver.session().extend(held[:1]) == {held[0].id}
    assert driver.session().settle([Settlement(r) for r in held[1:]]) == {r.id for r in held[1:]}
    assert driver.session().exchange([], [queue], 3).reservations == []
    assert {r.id for r in driver.session().recover(3)} == {r.id for r in held}


def test_signs_of_life_keep_a_short_reservation(make, queue):
    driver, other = make(RETRY_AFTER=2), make(RETRY_AFTER=2)
    driver.push([job(queue)])
    held = reserve(driver, queue)
    for _ in range(6):
        time.sleep(0.7)
        assert driver.session().extend(held) == set()
        assert other.session().exchange([], [queue], 1).reservations == []
    assert driver.session().settle([Settlement(held[0])]) == set()


def test_a_body_of_another_program_is_a_foreign_job(make, queue, raw):
    bodies = [b"", b"hello", b"\xff\x00\r\n", b"djq1 x y z\n{}", b"djq1 " + b"a" * 36 + b" b c\n"]
    id = str(uuid.uuid4()).encode()
    bodies += [b"djq1 %b n 0 60 -\n{}" % each for each in (b"a" * 36, b"\0" * 36, id.upper())]
    bodies += [b"djq1 %b n 0 60 %b\n{}" % (id, push) for push in (b"", b"x" * 36, b"x" * 99)]
    raw.ask([client.put(data, 1024, 0, 60) for data in bodies], use=queue)
    driver = make()
    found = reserve(driver, queue, len(bodies))
    assert [r.payload.encode("utf-8", "surrogateescape") for r in found] == bodies
    assert {r.name for r in found} == {FOREIGN}
    assert len({uuid.UUID(r.id) for r in found}) == len(bodies)
    again = make()
    driver.close()
    orphans = wait_until(
        lambda: again.session().exchange([], [queue], 9) and again.session().recover(9), 5
    )
    assert {r.id for r in orphans} <= {r.id for r in found}, "the same id each time"


def test_names_travel_whatever_they_are(make, queue):
    names = ["a.B", "grüße 你好", "a b\nc%20", "", "%"]
    driver = make()
    driver.push([job(queue)._replace(name=name) for name in names])
    assert [r.name for r in reserve(driver, queue, 5)] == names


def test_a_job_above_the_servers_limit_is_refused_in_words(make, queue):
    good, large = job(queue), job(queue)._replace(payload="x" * 70_000)
    with pytest.raises(QueueUnavailable, match=r"at most 65,535.*1 of 2 jobs were queued") as error:
        make().push([good, large])
    assert (error.value.stored, set(error.value.refused)) == ({good.id}, {large.id})
    with pytest.raises(QueueUnavailable, match=r"with -z 90000\. 1 of 2 jobs") as error:
        make(MAX_JOB_SIZE=90_000).push([large, good])
    assert (error.value.stored, set(error.value.refused)) == ({good.id}, {large.id})


def test_a_queue_may_not_begin_with_a_hyphen(make):
    with pytest.raises(QueueError, match="do not begin with a hyphen"):
        make().push([job("-x")])


def test_dots_in_names_of_queues_are_fine(make, queue):
    driver = make()
    driver.push([job(f"{queue}.mail")])
    assert reserve(driver, f"{queue}.mail")[0].queue == f"{queue}.mail"


def test_a_server_that_is_not_there(make):
    with pytest.raises(QueueUnavailable, match="cannot be reached") as error:
        make(PORT=1).push([job("default")])
    assert not error.value.ambiguous
    assert "cannot be reached" in make(PORT=1).inspector().warnings()[0]


def test_a_server_that_hangs_up_is_asked_again(make, queue, beanstalkd_server):
    driver = make()
    driver.push([job(queue)])
    driver._client._socket.shutdown(socket.SHUT_RDWR)
    driver.push([job(queue)])
    assert driver.inspector().counts(queue).waiting == 2


@contextlib.contextmanager
def guard_is_away(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The database of the guard rows cannot be asked about what was reserved."""

    def away(*_: object) -> None:
        raise DatabaseError("away")

    with monkeypatch.context() as patch:
        patch.setattr(Taking, "take", away)
        yield


def test_while_the_guard_is_away_nothing_is_reserved_and_what_is_held_stays(
    make, queue, monkeypatch
):
    driver = make()
    driver.push([job(queue, n) for n in range(2)])
    held = reserve(driver, queue)
    with guard_is_away(monkeypatch):
        with pytest.raises(QueueUnavailable, match=r"guard rows.*away") as error:
            driver.session().exchange([], [queue], 1)
        driver.session().reset_connection(error.value)
        assert driver.inspector().counts(queue)[:3] == (1, 0, 1)
    assert driver.session().settle([Settlement(held[0])]) == set()
    assert len(reserve(driver, queue)) == 1


def test_what_a_mark_says_is_over_never_runs_again(make, queue):
    driver = make()
    driver.push([job(queue)])
    (held,) = reserve(driver, queue)
    assert driver.session().confirm_end(held, over=True)
    driver._client.close()
    other = make()
    assert other.session().exchange([], [queue], 5).reservations == []
    assert (other.session().recover(5), other.inspector().counts(queue)[:3]) == ([], (0, 0, 0))
    assert driver.session().settle([Settlement(held, Verdict.RELEASE)]) == {held.id}


def test_the_row_of_a_job_is_gone_when_it_is_over(make, queue):
    driver = make()
    driver.push([job(queue, n) for n in range(3)])
    held = reserve(driver, queue, 3)
    assert Run.objects.exclude(held_as="").count() == 3
    driver.session().settle([Settlement(held[0]), Settlement(held[1], Verdict.RELEASE)])
    assert set(map(str, Run.objects.values_list("uuid", flat=True))) == {held[1].id, held[2].id}
    driver.inspector().clear(queue)
    assert [str(row.uuid) for row in Run.objects.all()] == [held[2].id]


def test_a_server_without_a_binlog_says_so(make, beanstalkd_binlog_server):
    assert "are lost when it stops" in make().inspector().warnings()[0]
    assert BeanstalkdDriver(connection(beanstalkd_binlog_server)).inspector().warnings() == []
    assert "MAX_JOB_SIZE is 70,000" in make(MAX_JOB_SIZE=70_000).inspector().warnings()[1]


def test_acknowledged_jobs_survive_a_killed_server(queue):
    with services.Beanstalkd(binlog=True) as server:
        driver = BeanstalkdDriver(connection(server))
        jobs = [job(queue, n) for n in range(200)]
        driver.push(jobs)
        held = reserve(driver, queue, 50)
        driver.session().settle([Settlement(r) for r in held[:25]])
        server.kill9()
        with pytest.raises(QueueUnavailable):
            driver.session().extend(held[25:])
        server.start()
        assert driver.session().extend(held[25:]) == {r.id for r in held[25:]}
        found = {r.id for r in reserve(driver, queue, 200)}
        assert found == {each.id for each in jobs[50:]}
        assert {r.id for r in driver.session().recover(200)} == {each.id for each in jobs[25:50]}
        driver.close()


def test_counting_tells_when_the_next_job_was_put(make, queue):
    driver = make()
    driver.push([job(queue)])
    oldest = driver.inspector().counts(queue).oldest_at
    assert abs((datetime.now(timezone.utc) - oldest).total_seconds()) < 3


def test_a_paused_queue_is_not_waited_for(make, queue):
    driver = make()
    wakeup = driver.session().watch([queue])
    descriptor = wakeup.fileno()
    driver.session().exchange([], [], 5)
    make().push([job(queue)])
    time.sleep(0.3)
    assert not wakeup.arrived()
    assert driver.inspector().counts(queue).waiting == 1
    assert len(reserve(driver, queue)) == 1
    driver.session().exchange([], [queue], 5)
    make().push([job(queue)])
    assert wait_until(wakeup.arrived, 5)
    assert wakeup.fileno() == descriptor
    wakeup.close()


def test_checks_of_the_settings(beanstalkd_server):
    def said(**options: Any) -> list[str]:
        made = connection(beanstalkd_server, **options)
        return [message.id for message in check_values(made, BeanstalkdDriver)]

    assert said() == []
    assert said(RETRY_AFTER=9) == ["djqueue.E020"]
    assert said(PORT="11300", WINDOW="no", TIMEOUT=True) == ["djqueue.E003"] * 3


# -- guard rows -----------------------------------------------------------------------------------


def test_a_copy_of_a_push_that_is_found_after_the_end_is_over(make, queue):
    driver = make()
    one = job(queue)
    driver.push([one])
    (held,) = reserve(driver, queue)
    assert driver.session().confirm_end(held, over=True)
    driver._client.ask([client.delete(held.handle[0])])  # and then its worker died
    driver.push([one])
    other = make()
    assert other.session().exchange([], [queue], 5).reservations == []
    assert (other.session().recover(5), other.inspector().counts(queue)[:3]) == ([], (0, 0, 0))


def test_a_row_that_is_locked_keeps_nobody_waiting(make, queue):
    if not connections["default"].features.has_select_for_update_skip_locked:
        pytest.skip("this database has no locks of rows")
    from concurrent.futures import ThreadPoolExecutor

    from django.db import transaction

    driver, other = make(), make()
    driver.push([job(queue)])
    (held,) = reserve(driver, queue)
    with transaction.atomic():
        assert driver.session().confirm_end(held, over=False)
        driver._client.close()

        def look() -> object:
            try:
                return other.session().exchange([], [queue], 1), other.session().recover(1)
            finally:
                connections.close_all()

        with ThreadPoolExecutor() as pool:
            found, orphans = pool.submit(look).result(timeout=10)
        assert (found.reservations, orphans) == ([], [])
    assert Run.objects.filter(updated_at__lte=Now(), ended=False).count() == 1


# -- silence and restarts --------------------------------------------------------------------------


@pytest.fixture
def own_server():
    """A server that a test may stop."""
    with services.Beanstalkd() as server:
        yield server


def as_worker(server: services.Beanstalkd, name: str, queue: str, **options: Any) -> Driver:
    driver = BeanstalkdDriver(connection(server, **options))
    driver.session(WorkerIdentity(name, "host", 1, (queue,), 10.0)).join()
    driver.patience = 0.3
    return driver


def test_a_server_that_is_silent_for_a_while_gives_nothing_away(own_server, queue):
    driver = as_worker(own_server, "a", queue)
    driver.push([job(queue, n) for n in range(3)])
    held = reserve(driver, queue)
    own_server.freeze()
    for _ in range(2):
        before = time.monotonic()
        with pytest.raises(QueueUnavailable, match="has not answered") as error:
            driver.session().exchange([Settlement(held[0])], [queue], 1)
        driver.session().reset_connection(error.value)
        assert time.monotonic() - before < 0.6
    own_server.thaw()
    other = as_worker(own_server, "b", queue)
    assert driver.session().extend([]) == set()
    taken = other.session().exchange([], [queue], 9).reservations
    assert other.session().recover(9) == [], "what the silent server held was not given away"
    assert len(taken) == 2, "what was reserved in a late answer goes back at once"
    assert driver.session().exchange([Settlement(held[0])], [queue], 1).lost == set()
    assert not Run.objects.filter(uuid=held[0].id, ended=False).exists()
    for each in (driver, other):
        each.close()


def test_a_deletion_whose_answer_was_lost_is_no_lost_job(own_server, queue):
    with services.Proxy(own_server.port) as proxy:
        driver = BeanstalkdDriver(
            ConnectionSettings(
                "bean",
                "beanstalkd",
                retry_after=10,
                options={"HOST": proxy.host, "PORT": proxy.port},
            )
        )
        driver.push([job(queue, n) for n in range(2)])
        held = reserve(driver, queue, 2)
        proxy.mode = Mode.DROP
        with pytest.raises(QueueUnavailable):
            driver.session().exchange([Settlement(held[0])], [], 0)
        proxy.mode = Mode.PASS
        lost = driver.session().exchange([Settlement(each) for each in held], [], 0).lost
        assert lost == {held[1].id}, "the first one is over, the second one may run elsewhere"
        held_still = Run.objects.filter(ended=False).values_list("uuid", flat=True)
        assert set(map(str, held_still)) == {held[1].id}
        driver.close()


def test_a_job_that_got_the_number_of_another_one_is_left_alone(own_server, queue):
    driver = as_worker(own_server, "a", queue)
    driver.push([job(queue)])
    (held,) = reserve(driver, queue)
    own_server.kill9()
    own_server.start()
    pusher = BeanstalkdDriver(connection(own_server))
    jobs = [job(queue, n) for n in range(1, 4)]
    pusher.push(jobs)
    lost: set[str] = set()

    def settled() -> bool:
        try:
            lost.update(driver.session().settle([Settlement(held)]))
        except QueueUnavailable:
            return False
        return True

    wait_until(settled, 5)
    assert driver.inspector().counts(queue)[:3] == (3, 0, 0)
    assert [r.id for r in reserve(driver, queue, 3)] == [each.id for each in jobs]
    for each in (driver, pusher):
        each.close()


def test_a_job_is_held_for_as_long_as_its_pusher_said(make, queue):
    driver = make(RETRY_AFTER=600)
    make(RETRY_AFTER=10).push([job(queue)])
    assert driver.session().lease == 600
    (held,) = reserve(driver, queue)
    assert driver.session().lease == 10
    assert driver.session().settle([Settlement(held, Verdict.RELEASE)]) == set()
    assert driver.session().lease == 600
    reserve(driver, queue)
    assert driver.session().lease == 600, "who releases a job puts it back with its own time"


# -- the call of an idle worker --------------------------------------------------------------------


def test_a_worker_that_has_not_looked_yet_takes_no_job_from_its_queue(make, queue):
    driver = make()
    wakeup = driver.session().watch([queue])
    make().push([job(queue)])
    time.sleep(0.2)
    assert not wakeup.arrived()
    assert len(driver.session().exchange([], [queue], 1).reservations) == 1
    wakeup.close()


def test_the_better_queue_comes_first_though_the_other_one_has_called(make, queue):
    driver, high, low = make(), f"{queue}-high", f"{queue}-low"
    wakeup = driver.session().watch([high, low])
    assert driver.session().exchange([], [high, low], 1).reservations == []
    pusher = make()
    pusher.push([job(low)])
    wait_until(wakeup.arrived, 5)
    pusher.push([job(high)])
    found = [driver.session().exchange([], [high, low], 1).reservations[0].queue for _ in range(1)]
    assert found == [high]
    assert [r.queue for r in reserve(driver, low)] == [low]
    wakeup.close()


def test_a_call_for_a_job_that_is_gone_is_none(make, queue):
    """Its time was over, as that of a worker that was frozen while it was idle."""
    driver = make()
    wakeup = driver.session().watch([queue])
    assert driver.session().exchange([], [queue], 1).reservations == []
    wakeup._client.close()
    wakeup._pass_on(2**40)
    assert wakeup.called([queue]) == []
    wakeup.close()


def test_a_worker_hears_at_once_that_the_connection_with_its_jobs_is_gone(own_server, queue):
    driver = as_worker(own_server, "a", queue)
    wakeup = driver.session().watch([queue])
    driver.push([job(queue)])
    held = driver.session().exchange([], [queue], 5).reservations
    assert len(held) == 1
    assert not driver.session().lost_hold()
    own_server.kill9()
    wait_until(wakeup.arrived, 2)
    assert driver.session().lost_hold()
    assert not driver.session().lost_hold(), "it is told once"
    wakeup.close()
    driver.close()


# -- copies ----------------------------------------------------------------------------------------


def test_a_push_that_was_repeated_runs_once(make, queue):
    driver, other = make(), make()
    one = job(queue, push_id=str(uuid.uuid4()))
    driver.push([one])
    driver.push([one])  # its sender did not see the answer
    (held,) = reserve(driver, queue)
    assert other.session().exchange([], [queue], 5).reservations == [], "its first copy is held"
    assert (other.session().recover(5), driver.session().settle([Settlement(held)])) == ([], set())
    wait_until(
        lambda: (
            other.session().exchange([], [queue], 5)
            and not any(other.inspector().counts(queue)[:3])
        ),
        5,
    )
    assert other.session().recover(5) == []
    driver.push([one._replace(push_id=str(uuid.uuid4()))])
    (again,) = reserve(other, queue)
    assert (again.id, again.attempt) == (one.id, 1), "another push is another run"


def test_a_worker_that_dies_between_the_two_steps_of_a_release_leaves_one_job(make, queue):
    driver, other = make(), make()
    driver.push([job(queue)])
    (held,) = reserve(driver, queue)
    pairs, _ = driver._session._holdings.find_all([Settlement(held, Verdict.RELEASE)])
    driver._guard.put_back([(pairs[0][0], 1)])
    driver._session._settling._put_copies(pairs)
    driver.close()
    assert other.inspector().counts(queue).waiting == 2
    (again,) = other.session().exchange([], [queue], 5).reservations
    assert (again.id, again.attempt) == (held.id, 2)
    assert other.session().settle([Settlement(again)]) == set()
    wait_until(
        lambda: (
            other.session().exchange([], [queue], 5)
            and not any(other.inspector().counts(queue)[:3])
        ),
        5,
    )
    assert other.session().recover(5) == []


def slow_server(listener: socket.socket, seconds: float) -> None:
    """Answers each put after a while, as a server does that writes to a slow disk."""
    connected, _ = listener.accept()
    with connected, connected.makefile("rb") as reader:
        while line := reader.readline():
            if line.startswith(b"put"):
                reader.read(int(line.split()[4]) + 2)
                time.sleep(seconds)
                connected.sendall(b"INSERTED 1\r\n")
            else:
                connected.sendall(b"USING default\r\n")


def test_a_dispatcher_waits_for_a_server_that_is_slow(make, queue):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=slow_server, args=(listener, 0.02), daemon=True).start()
        driver = make(PORT=listener.getsockname()[1], TIMEOUT=0.5)
        driver.push([job(queue, n) for n in range(60)])
        driver.close()


def test_a_deletion_that_is_still_on_its_way_decides_with_the_row(own_server, queue):
    """A look finds the job, and a moment later it is gone: its failed row must not go first."""
    with services.Proxy(own_server.port) as proxy:
        driver = BeanstalkdDriver(connection(own_server, PORT=proxy.port, TIMEOUT=0.3))
        driver.session(WorkerIdentity("a", "host", 1, (queue,), 10.0)).join()
        driver.push([job(queue)])
        (held,) = reserve(driver, queue)
        proxy.mode = Mode.HOLD
        with pytest.raises(QueueUnavailable):
            driver.session().settle([Settlement(held)])
        driver._client.close()  # what was sent is carried out later all the same
        driver._client.address = (proxy.host, own_server.port)
        assert driver.session().extend([held]) == set()
        assert driver.session().settle([Settlement(held)]) == set()
        other = BeanstalkdDriver(connection(own_server))
        proxy.mode = Mode.PASS
        wait_until(lambda: not any(other.inspector().counts(queue)[:3]), 5)
        assert other.session().exchange([], [queue], 5).reservations == []
        assert other.session().recover(5) == []
        for each in (driver, other):
            each.close()


def test_a_late_answer_is_no_broken_connection(own_server, queue):
    driver = as_worker(own_server, "a", queue)
    wakeup = driver.session().watch([queue])
    driver.push([job(queue)])
    assert len(driver.session().exchange([], [queue], 5).reservations) == 1
    own_server.freeze()
    with pytest.raises(QueueUnavailable):
        driver.session().exchange([], [queue], 5)
    own_server.thaw()
    time.sleep(0.2)
    wakeup.arrived()
    assert not driver.session().lost_hold()
    wakeup.close()
    driver.close()


def test_what_was_settled_before_an_exchange_broke_off_is_not_lost(make, queue, monkeypatch):
    driver = make()
    driver.push([job(queue, n) for n in range(2)])
    held = reserve(driver, queue)
    with guard_is_away(monkeypatch), pytest.raises(QueueUnavailable):
        driver.session().exchange([Settlement(held[0])], [queue], 1)
    assert driver.session().exchange([Settlement(held[0])], [queue], 1).lost == set()
    assert driver.session().settle([Settlement(held[0])]) == {held[0].id}, "once told, it is over"
