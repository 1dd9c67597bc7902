"""Starts the database under test before Django looks for it, and the other servers on demand."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from typing import TypeVar

import pytest
from django.apps import apps
from django.db.models.signals import post_migrate
from django.test import TransactionTestCase

from djqueue.jobs import registry
from djqueue.runner.timer import AlarmTimer
from djqueue.testing import DriverContract
from tests import databases, services
from tests import ledger as ledgers
from tests.services.guard import Guard

_Service = TypeVar("_Service", bound=services.Server | services.RedisCluster)

_SERVER = pytest.StashKey[services.Server | None]()
# Markers that name the only vendor a test is for.
_VENDORS = ("postgresql", "mariadb")
# Markers of tests for which any vendor will do. What other stores keep in SQL (guard rows, failed
# rows, the outbox) has tests of its own, on every vendor.
_ANYWHERE = ("anywhere", "redis", "sqs", "beanstalkd", "browser")
_CONTRACT = "contract"
_WALLCLOCK = ("wallclock", "redis", "sqs", "beanstalkd", "browser", "slow")


def pytest_configure(config: pytest.Config) -> None:
    """Start the database server, once for all processes of this run."""
    if hasattr(config, "workerinput"):
        return  # a process of pytest-xdist uses its controller's
    _hear_signals()
    databases.folder().mkdir(exist_ok=True)
    Guard.get().remove(databases.folder())
    config.stash[_SERVER] = server = databases.server()
    if server is not None and not config.option.collectonly:
        try:
            server.start()
        except services.MissingProgram as missing:
            pytest.exit(str(missing), returncode=1 if _must_have_all() else 0)


def _hear_signals() -> None:
    """Shells, and nohup, start what runs in the background with signals ignored; programs that are
    started here would inherit that, and workers leave it as they find it.
    """
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop what `pytest_configure` started."""
    if hasattr(config, "workerinput"):
        return
    server = config.stash.get(_SERVER, None)
    if server is not None:
        server.stop()
    shutil.rmtree(databases.folder(), ignore_errors=True)


def pytest_report_header() -> str:
    return f"djqueue: database under test: {databases.vendor()}"


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what runs against the database, skip what is for another vendor, and let what depends on
    the wall clock run once more.
    """
    for item in items:
        if _depends_on_the_clock(item):
            item.add_marker(pytest.mark.flaky(reruns=1, reruns_delay=1))
        if _jobs_in_sql(item) and not _runs_anywhere(item):
            item.add_marker("database")
        for name in _VENDORS:
            if item.get_closest_marker(name):
                item.add_marker("database")
                if databases.vendor() != name:
                    reason = f"for {name}: run with DJQUEUE_TEST_DB={name}"
                    item.add_marker(pytest.mark.skip(reason=reason))
        if issubclass(getattr(item, "cls", None) or object, DriverContract):
            item.user_properties.append((_CONTRACT, _driver(item)))


def _runs_anywhere(item: pytest.Item) -> bool:
    """Whether it is marked so, or works on the other stores with real workers."""
    marked = any(item.get_closest_marker(name) for name in _ANYWHERE)
    return marked or "store" in getattr(item, "fixturenames", ())


def _depends_on_the_clock(item: pytest.Item) -> bool:
    """Whether it waits for other processes: workers, which keep a ledger, or the servers of stores.

    What computes, and what asks the database under test alone, is never run once more.
    """
    has_workers = "ledger" in getattr(item, "fixturenames", ()) or item.path.parent.name == "worker"
    marked = any(item.get_closest_marker(name) for name in _WALLCLOCK)
    return marked or has_workers or issubclass(getattr(item, "cls", None) or object, DriverContract)


def _driver(item: pytest.Item) -> str:
    """What a class of contract tests is about, from its name and its module's."""
    path, cls = item.nodeid.split("::")[:2]
    words = [path.rpartition("/")[2].removeprefix("test_").removesuffix(".py").replace("_", " ")]
    words += re.findall("[A-Z][a-z]+", re.sub("^Test(Contract)?", "", cls))
    if item.get_closest_marker("database") and words[0] in ("database", "pooler"):
        words.append(f"({databases.vendor()})")
    return " ".join(words).lower()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many tests of the contract each driver has passed, and how many ran once more."""
    again = len(terminalreporter.stats.get("rerun", ()))
    terminalreporter.write_line(f"tests that were run once more: {again}")
    passed = Counter(
        driver
        for report in terminalreporter.stats.get("passed", ())
        for name, driver in report.user_properties
        if name == _CONTRACT
    )
    if passed:
        told = ", ".join(f"{driver} {count}" for driver, count in sorted(passed.items()))
        terminalreporter.write_line(f"contract tests passed: {told}")


def _jobs_in_sql(item: pytest.Item) -> bool:
    fixtures = {"db", "transactional_db"} & set(getattr(item, "fixturenames", ()))
    is_django_test = issubclass(getattr(item, "cls", None) or object, TransactionTestCase)
    return bool(fixtures or is_django_test or item.get_closest_marker("django_db"))


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup):
    """Create the test databases (pytest-django), then tell child processes where they are."""
    from tests import support

    os.environ.update(support.environment())
    _make_no_permissions()


def _make_no_permissions() -> None:
    """Let Django empty the tables after a test that commits, and no more than that.

    To make content types and permissions anew each time took longer than most of these tests.
    """
    from django.contrib.contenttypes.management import create_contenttypes

    uid = "django.contrib.auth.management.create_permissions"
    assert post_migrate.disconnect(create_contenttypes)
    assert post_migrate.disconnect(dispatch_uid=uid)
    post_migrate.connect(_forget_content_types)


def _forget_content_types(**_: object) -> None:
    from django.contrib.contenttypes.models import ContentType

    ContentType.objects.clear_cache()


@pytest.fixture(scope="session", autouse=True)
def unhurried():
    """Let what this process does for a cancelled batch be done at once, however slow the machine
    is. What is left to workers when time is up has tests of its own.
    """
    from djqueue.composition.batches import upkeep

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upkeep, "BUDGET", 60.0)
        yield


def _jobs_of_tests() -> set[str]:
    """Return the names of jobs that functions have declared, and of debounced ones, which change
    how every other job is dispatched.
    """
    return {
        spec.name
        for spec in registry.all()
        if "<locals>" in spec.job_class.__qualname__ or spec.options.debounce is not None
    }


@pytest.fixture(scope="module", autouse=True)
def no_job_stays():
    """Fail the last test of a module whose tests leave such jobs in the registry."""
    before = _jobs_of_tests()
    yield
    left = _jobs_of_tests() - before
    assert not left, f"jobs that tests have declared and not removed: {sorted(left)}"


@pytest.fixture
def own_jobs():
    """Remove the jobs that a test declares when it ends."""
    before = _jobs_of_tests()
    yield
    for name in _jobs_of_tests() - before:
        registry.unregister(name)


@pytest.fixture
def permissions(transactional_db):
    """Content types and permissions, in a test that commits; others find them there."""
    from django.contrib.auth.management import create_permissions

    for app in apps.get_app_configs():
        create_permissions(app, verbosity=0)


def _must_have_all() -> bool:
    return os.environ.get("CI") == "true"


def _started(service: _Service) -> Iterator[_Service]:
    """Start a service for a fixture; skip, or fail in CI, where its program is missing."""
    try:
        service.start()
    except services.MissingProgram as missing:
        if _must_have_all():
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))
    yield service
    service.stop()


@pytest.fixture(scope="session")
def postgresql_server():
    """A PostgreSQL server beside the database under test."""
    yield from _started(services.PostgreSQL(fsync=False))


@pytest.fixture(scope="session")
def postgresql_tls_server():
    """A PostgreSQL server that takes encrypted connections only."""
    yield from _started(services.PostgreSQL(fsync=False, tls=True))


@pytest.fixture(scope="session")
def mariadb_server():
    """A MariaDB server beside the database under test."""
    yield from _started(services.MariaDB(fsync=False))


@pytest.fixture(scope="session")
def pgbouncer_server(request):
    """PgBouncer, in transaction mode: before the database under test where that is PostgreSQL."""
    server = request.config.stash.get(_SERVER, None)
    if not isinstance(server, services.PostgreSQL):
        server = request.getfixturevalue("postgresql_server")
    yield from _started(services.PgBouncer(server))


@pytest.fixture(scope="session")
def redis_server():
    """A Redis server."""
    yield from _started(services.Redis())


@pytest.fixture(scope="session")
def redis_aof_server():
    """A Redis server whose data survives a restart and a kill."""
    yield from _started(services.Redis(aof=True))


@pytest.fixture(scope="session")
def redis_cluster():
    """A Redis Cluster of three masters."""
    yield from _started(services.RedisCluster())


@pytest.fixture(scope="session")
def beanstalkd_server():
    """A beanstalkd in memory."""
    yield from _started(services.Beanstalkd())


@pytest.fixture(scope="session")
def beanstalkd_binlog_server():
    """A beanstalkd whose jobs survive a restart and a kill."""
    yield from _started(services.Beanstalkd(binlog=True))


@pytest.fixture(scope="session")
def sqs_server():
    """An SQS server, with the credentials its clients need in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        for service in _started(services.SQS()):
            for name, value in service.environment.items():
                patch.setenv(name, value)
            yield service


@pytest.fixture
def plain_ledger():
    """What the jobs of workers under test did, in a test that cares for its databases itself."""
    with ledgers.kept() as ledger:
        yield ledger


@pytest.fixture
def ledger(transactional_db, plain_ledger):
    """What the jobs of workers under test did."""
    return plain_ledger


@pytest.fixture
def alarm():
    """The timer of a process that is the jobs' own."""
    before = signal.getsignal(signal.SIGALRM)
    timer = AlarmTimer()
    yield timer
    timer.close()
    signal.signal(signal.SIGALRM, before)
