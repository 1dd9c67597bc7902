"""What the checks say once they may connect: servers and tables."""

from __future__ import annotations

import pytest
from django.db import connection, connections
from django.db.migrations.recorder import MigrationRecorder

from djqueue.checks import tables

ALL = ["default", "queue", "other"]


@pytest.mark.django_db(databases=ALL)
def test_a_migrated_database_has_nothing_to_say(ids):
    assert ids(databases=ALL) == []


def test_a_database_that_holds_nothing_of_ours_is_not_connected_to():
    assert tables.check_tables(databases=["queue", "other"]) == []


def test_without_databases_nothing_is_connected_to(ids):
    assert ids() == []  # pytest-django would refuse a connection here


@pytest.mark.parametrize(
    ("mariadb", "version", "expected"),
    [
        (True, (10, 5, 23), ["djqueue.E015"]),
        (True, (10, 6), []),
        (True, (11, 4, 2), []),
        (False, (5, 7, 44), ["djqueue.E015"]),
        (False, (8, 0, 0), ["djqueue.E015"]),
        (False, (8, 0, 1), []),
    ],
)
def test_servers_without_skip_locked(mariadb, version, expected):
    found = list(tables._server(Server(mariadb, version)))
    assert [message.id for message in found] == expected
    for message in found:
        assert ".".join(str(part) for part in version) in message.msg
        assert ("10.6" if mariadb else "8.0.1") in message.msg


class Server:
    """What the check asks of Django's connection to MySQL or MariaDB."""

    vendor = "mysql"
    alias = "default"

    def __init__(self, mariadb, version):
        self.mysql_is_mariadb = mariadb
        self.mysql_version = version


@pytest.fixture
def renamed(transactional_db):
    """Return a function: until the test ends, djqueue's jobs table has another name."""
    done = []

    def renamed():
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE jobs RENAME TO jobs_away")
        done.append(True)

    yield renamed
    if done:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE IF EXISTS jobs")
            cursor.execute("ALTER TABLE jobs_away RENAME TO jobs")


@pytest.fixture
def unapplied(transactional_db):
    """Djqueue's migrations are not recorded as applied."""
    recorder = MigrationRecorder(connections["default"])
    rows = recorder.migration_qs.filter(app="djqueue")
    names = list(rows.values_list("name", flat=True))
    rows.delete()
    yield
    for name in names:
        recorder.record_applied("djqueue", name)


def test_tables_that_are_missing(renamed, messages):
    renamed()
    [message] = messages(databases=["default"])
    assert message.id == "djqueue.W016"
    assert "the tables jobs" in message.msg
    assert "migrate djqueue --database default" in message.hint
    assert messages(databases=["queue"]) == []


def test_columns_that_are_missing(renamed, messages):
    renamed()
    foreign_jobs()
    [message] = messages(databases=["default"])
    assert message.id == "djqueue.W016"
    assert "columns of jobs" in message.msg


@pytest.mark.usefixtures("unapplied")
def test_a_jobs_table_of_another_program(renamed, messages):
    renamed()
    foreign_jobs()
    [message] = messages(databases=["default"])
    assert message.id == "djqueue.E017"
    assert 'has a table "jobs" that is not djqueue\'s' in message.msg
    assert "uuid" in message.msg
    assert "Laravel" in message.msg


def foreign_jobs():
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE jobs (id bigint PRIMARY KEY, queue varchar(255), payload text,"
            " attempts smallint, reserved_at int, available_at int, created_at int)"
        )
