"""What others do not document is there, and does what djqueue needs of it."""

from __future__ import annotations

import ast
import asyncio
import contextvars
import inspect
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
from io import StringIO
from types import SimpleNamespace

import pytest
from asgiref.sync import ThreadSensitiveContext
from django.contrib.admin import site
from django.contrib.auth.models import Group, User
from django.core.management.base import OutputWrapper
from django.db import connection, transaction
from django.db.models.signals import post_delete
from django.urls import resolve, reverse
from django.utils import timezone, translation
from django.utils.functional import SimpleLazyObject

from djqueue import compat
from djqueue.models import Control
from tests.imports import modules

DOCUMENTED = {
    *("_meta", "_state", "_base_manager"),  # Django
    *("_asdict", "_fields", "_field_defaults", "_make", "_replace"),  # namedtuple
    *("_exit",),  # os
}


def run(source):
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_private_names_of_others_are_used_in_one_module():
    trees = {name: ast.parse(path.read_text()) for name, path in modules().items()}
    nodes = [(name, node) for name, tree in trees.items() for node in ast.walk(tree)]
    own = {name for _, node in nodes for name in _defined(node)}
    used = [
        f"{module}:{node.lineno}: {name}"
        for module, node in nodes
        for name in _private(node)
        if name not in own | DOCUMENTED and module != "djqueue.compat"
    ]
    assert not used, "move to djqueue/compat.py:\n" + "\n".join(used)


def _defined(node):
    """Return the names that a statement of djqueue defines."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
        yield from [node.attr] if ast.unparse(node.value) in ("self", "cls") else []


def _private(node):
    """Return the private names that an expression or an import uses."""
    names = []
    if isinstance(node, ast.Attribute):
        names = [node.attr]
    elif isinstance(node, ast.ImportFrom):
        names = [node.module or "", *(alias.name for alias in node.names)]
    elif isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    return [name for name in names if name.startswith("_") and not name.startswith("__")]


@pytest.mark.django_db
def test_a_time_of_a_cursor_is_read_as_the_orm_reads_it():
    moment = timezone.now()
    control = Control.objects.create(scope="x", updated_at=moment)
    with connection.cursor() as cursor:
        cursor.execute("SELECT updated_at FROM djqueue_controls WHERE id = %s", [control.pk])
        ((value,),) = cursor.fetchall()
    assert compat.read_time(connection, value) == moment
    assert compat.read_time(connection, None) is None


@pytest.mark.parametrize("address", ["two\nlines@example.com", "a@example.com, b@example.com"])
def test_the_smtp_backend_refuses_an_address(address):
    compat.check_smtp_address("Ada <ada@example.com>", None)
    with pytest.raises(ValueError, match="nvalid address"):
        compat.check_smtp_address(address, None)


# -- Python ----------------------------------------------------------------------------------------


def test_the_running_loop_is_asked_without_an_exception():
    async def inside():
        return compat.running_loop() is asyncio.get_running_loop()

    assert compat.running_loop() is None
    assert asyncio.run(inside())
    assert compat.running_loop is asyncio._get_running_loop


def test_the_environment_is_a_dict_that_follows_changes(monkeypatch):
    environment = compat.environment()
    assert type(environment) is dict
    monkeypatch.setenv("DJQUEUE_TEST_COMPAT", "here")
    assert environment[b"DJQUEUE_TEST_COMPAT"] == b"here"
    assert environment == dict(os.environb)


def test_signals_are_asked_without_enums():
    assert compat.getsignal is not signal.getsignal
    assert compat.getsignal(signal.SIGINT) == signal.getsignal(signal.SIGINT)
    assert compat.pthread_sigmask is not signal.pthread_sigmask
    assert compat.pthread_sigmask(signal.SIG_BLOCK, ()) == set()


def test_json_is_made_without_a_new_encoder_each_time():
    encode = compat.compact_json()
    value = {"a": [1, 2.5, None, True, "é\u2028"], "b": {}}
    assert encode(value) == json.dumps(value, separators=(",", ":"))
    assert inspect.isfunction(encode)
    with pytest.raises(ValueError, match="JSON"):
        encode(float("nan"))
    with pytest.raises(TypeError):
        encode(object())


def test_a_process_ends_as_a_program_does():
    shown = run(
        "import atexit, os, threading, time\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from djqueue import compat\n"
        "def late():\n"
        "    time.sleep(0.2)\n"
        "    print('thread', flush=True)\n"
        "atexit.register(print, 'atexit', flush=True)\n"
        "threading.Thread(target=late).start()\n"
        "ThreadPoolExecutor().submit(int).result()\n"
        "compat.wait_for_threads()\n"
        "compat.run_exit_functions()\n"
        "os._exit(0)\n"
    )
    assert shown.split() == ["thread", "atexit"]


@pytest.mark.skipif(
    "forkserver" not in multiprocessing.get_all_start_methods(), reason="no forkserver here"
)
def test_the_helpers_of_multiprocessing_are_known():
    shown = run(
        "from multiprocessing import forkserver\n"
        "from djqueue import compat\n"
        "assert compat.helper_processes() == set()\n"
        "forkserver.ensure_running()\n"  # and the tracker of resources with it
        "print(len(compat.helper_processes()))\n"
    )
    assert shown.strip() == "2"


# -- Django and asgiref ----------------------------------------------------------------------------


@pytest.mark.django_db
def test_rows_are_deleted_with_one_statement(django_assert_num_queries):
    Group.objects.bulk_create(Group(name=name) for name in "abc")
    deleted = []

    def listener(instance, **_):
        deleted.append(instance)

    post_delete.connect(listener)
    try:
        with django_assert_num_queries(1):
            assert compat.delete_rows(Group.objects.filter(name__in="ab")) == 2
    finally:
        post_delete.disconnect(listener)
    assert deleted == []
    assert compat.delete_rows(Group.objects.all(), "default") == 1


@pytest.mark.django_db
def test_the_rows_of_a_queryset_are_known_once_it_is_evaluated():
    Group.objects.create(name="a")
    rows = Group.objects.all()
    assert compat.fetched_rows(rows) is None
    assert list(rows) == compat.fetched_rows(rows)


def test_a_queryset_of_values_gives_no_instances():
    rows = Group.objects.all()
    assert compat.yields_instances(rows)
    assert not compat.yields_instances(rows.values())
    assert not compat.yields_instances(rows.values_list("pk", flat=True))
    assert not compat.yields_instances(User.objects.dates("date_joined", "year"))


def test_the_instance_in_a_lazy_object():
    user = User(username="ada")
    lazy = SimpleLazyObject(lambda: user)
    assert lazy.username == "ada"
    assert compat.unwrapped(lazy) is user


@pytest.mark.django_db
def test_the_transaction_around_a_test_is_known():
    (around,) = connection.atomic_blocks
    assert compat.is_of_testcase(around)
    with transaction.atomic():
        assert not compat.is_of_testcase(connection.atomic_blocks[-1])


@pytest.mark.django_db(transaction=True)
def test_a_forgotten_transaction_leaves_nothing_behind():
    connection.close()
    before = dict(vars(connection))
    outer, inner = transaction.atomic(), transaction.atomic()
    outer.__enter__()
    inner.__enter__()
    transaction.on_commit(int)
    compat.forget_transaction(connection)
    connection.close()
    after = dict(vars(connection))
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed <= {"close_at", "errors_occurred", "health_check_done"}


def test_the_stream_of_a_command():
    stream = StringIO()
    assert compat.stream_of(OutputWrapper(stream)) is stream


def test_the_list_that_a_page_of_the_admin_was_opened_from(rf):
    listed = reverse("admin:djqueue_failedjob_changelist")
    request = rf.get(listed, {"database": "other"})
    request.resolver_match = resolve(listed)
    model = next(model for model in site._registry if model.__name__ == "FailedJob")
    kept = site._registry[model].get_preserved_filters(request)
    page = rf.get(f"{listed}1/change/?{kept}")
    assert compat.kept_filters(page).dict() == {"database": "other"}


def test_the_thread_of_an_async_request():
    async def inside():
        async with ThreadSensitiveContext():
            return compat.has_request_thread()

    assert not compat.has_request_thread()
    assert asyncio.run(inside())


@pytest.mark.parametrize(
    ("may_have", "override", "value"),
    [
        (compat.may_have_language, translation.override, "ja"),
        (compat.may_have_time_zone, timezone.override, "Asia/Tokyo"),
    ],
)
def test_where_nothing_is_active_is_seen_without_asking(may_have, override, value):
    def seen():
        with override(value):
            return may_have()

    assert contextvars.Context().run(may_have) is False
    assert contextvars.Context().run(seen) is True


@pytest.mark.parametrize(
    "changed", [None, SimpleNamespace(), SimpleNamespace(_storage=SimpleNamespace(_data={}))]
)
def test_where_nothing_can_be_seen_something_may_be_active(changed, monkeypatch):
    assert not compat.is_context_local(changed)
    monkeypatch.setattr(compat, "_ARE_READABLE", False)
    assert contextvars.Context().run(compat.may_have_language)
    assert contextvars.Context().run(compat.may_have_time_zone)


# -- clients of stores -----------------------------------------------------------------------------


def test_cursors_of_psycopg_wait_through_their_connection():
    psycopg = pytest.importorskip("psycopg")
    assert "wait" in vars(psycopg.Connection)
    for method in ("execute", "executemany"):
        assert "_conn.wait(" in inspect.getsource(getattr(psycopg.Cursor, method))


def test_the_socket_of_redis():
    redis = pytest.importorskip("redis")
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        one = redis.Connection(host, port, redis_connect_func=lambda _: None)
        assert compat.socket_of(None) is compat.socket_of(one) is None
        one.connect()
        assert compat.socket_of(one).getpeername() == server.getsockname()
        one.disconnect()
        assert compat.socket_of(one) is None
