"""The servers of the test run start, answer, survive what they should, and are gone in the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connections

from tests import databases, services, support
from tests.app.models import Note, Seat


@pytest.mark.django_db(transaction=True, databases=["default", "queue", "other"])
class TestDatabases:
    def test_the_vendor_is_the_one_that_was_asked_for(self):
        vendor = {"mariadb": "mysql"}.get(databases.vendor(), databases.vendor())
        assert {connections[alias].vendor for alias in databases.ALIASES} == {vendor}

    def test_each_alias_is_a_database_of_its_own(self):
        Note.objects.using("queue").create(text="here")
        assert not Note.objects.using("default").exists()
        assert not Note.objects.using("other").exists()

    def test_a_composite_key_works(self):
        Seat.objects.create(train=1, number=2)
        assert Seat.objects.get(pk=(1, 2)).number == 2

    @pytest.mark.parametrize("alias", databases.ALIASES)
    def test_a_child_process_sees_the_same_database(self, alias):
        Note.objects.using(alias).create(text=f"for {alias}")
        script = "from tests.app.models import Note; print(Note.objects.using(%r).get().text)"
        done = support.run_command("shell", "--no-imports", "-c", script % alias, check=True)
        assert done.stdout.strip() == f"for {alias}"

    def test_a_child_process_sees_the_settings_of_the_test(self, settings):
        settings.TIME_ZONE = "Asia/Tokyo"
        script = (
            "from django.conf import settings; print(settings.TIME_ZONE, settings.LANGUAGE_CODE)"
        )
        done = support.run_command(
            "shell", "--no-imports", "-c", script, check=True, overrides={"LANGUAGE_CODE": "sv"}
        )
        assert done.stdout.split() == ["Asia/Tokyo", "sv"]


class TestServers:
    def test_postgresql_takes_encrypted_connections_only(self, postgresql_tls_server):
        server = postgresql_tls_server
        assert "t" in server.psql("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        with pytest.raises(services.ServerFailed, match=r"no pg_hba\.conf entry"):
            server.run("psql", "-X", "-c", "SELECT 1", server.url.replace("require", "disable"))

    def test_pgbouncer_hands_on_to_postgresql(self, pgbouncer_server):
        pid = "SELECT pg_backend_pid()"
        assert pgbouncer_server.run("psql", "-X", "-A", "-t", "-c", pid, pgbouncer_server.url)

    def test_mariadb_keeps_its_data_through_a_kill(self):
        pytest.importorskip("MySQLdb")
        with _available(services.MariaDB()) as server:
            server.kill9()
            server.start()
            assert server.is_running

    @pytest.mark.redis
    def test_redis_with_its_file_keeps_its_data_through_a_kill(self, redis_aof_server):
        redis_aof_server.cli("SET", "key", "value")
        redis_aof_server.kill9()
        redis_aof_server.start()
        assert redis_aof_server.cli("GET", "key").strip() == "value"

    @pytest.mark.redis
    def test_the_cluster_covers_all_slots(self, redis_cluster):
        info = redis_cluster.nodes[0].cli("cluster", "info")
        assert "cluster_slots_ok:16384" in info
        assert "cluster_size:3" in info

    @pytest.mark.beanstalkd
    def test_beanstalkd_with_its_binlog_keeps_its_jobs_through_a_kill(
        self, beanstalkd_binlog_server
    ):
        server = beanstalkd_binlog_server
        answer = server.ask(b"put 0 0 60 5\r\nhello\r\n")
        assert answer.startswith(b"INSERTED ")
        server.kill9()
        server.start()
        assert b"hello" in server.ask(b"peek %d\r\n" % int(answer.split()[1]))

    @pytest.mark.sqs
    def test_sqs_makes_a_queue(self, sqs_server):
        boto3 = pytest.importorskip("boto3")
        client = boto3.client("sqs", endpoint_url=sqs_server.url)
        url = client.create_queue(QueueName="default")["QueueUrl"]
        assert url == f"{sqs_server.prefix}/default"

    @pytest.mark.redis
    def test_a_frozen_server_goes_on_where_it_was(self):
        with _available(services.Redis()) as server:
            server.freeze()
            assert not server.is_ready()
            server.thaw()
            assert server.is_ready()


@pytest.mark.redis
class TestTheEnd:
    """Whatever happens to its owner, a server and its folder are gone soon after."""

    SCRIPT = """\
import signal, sys, time
from tests.services import Redis
# Not what was inherited: what a script runs in the background has this signal ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
server = Redis().start()
print(server.pids[0], server.folder, flush=True)
{ending}
"""

    @pytest.mark.parametrize(
        ("ending", "signum"),
        [
            ("raise RuntimeError('crash')", None),
            ("import os; os._exit(1)", None),
            ("time.sleep(60)", signal.SIGINT),
            ("time.sleep(60)", signal.SIGTERM),
            ("time.sleep(60)", signal.SIGKILL),
        ],
    )
    def test_nothing_is_left(self, ending, signum):
        _available(services.Redis()).stop()
        owner = subprocess.Popen(
            [sys.executable, "-c", self.SCRIPT.format(ending=ending)],
            cwd=support.ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        with owner:
            pid, folder = owner.stdout.readline().split()
            if signum is not None:
                owner.send_signal(signum)
            owner.wait(10)
        support.wait_until(lambda: not _is_alive(int(pid)), what="the server is gone")
        support.wait_until(lambda: not Path(folder).exists(), what="the folder is gone")


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _available(server):
    try:
        return server.start()
    except services.MissingProgram as missing:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(missing))
