"""What djqueue uses of others and they do not document, one name for each thing.

Each docstring says why it is used, and what happens where a new version does not have it. Those
that have a replacement use it by themselves. ``tests/test_compat.py`` fails if the thing itself is
gone or has changed.

Not here: what is documented with an underscore, as ``Model._meta``, ``Model._state``,
``namedtuple._replace`` and ``os._exit``.
"""

from __future__ import annotations

import asyncio
import atexit
import json.encoder
import os
import signal
import sys
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.utils import timezone
from django.utils.translation import trans_real

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping
    from contextlib import _GeneratorContextManager
    from datetime import datetime
    from typing import TextIO

    from django.core.management.base import OutputWrapper
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models import Model, QuerySet
    from django.http import HttpRequest, QueryDict
    from django.utils.functional import _StrPromise
    from redis.connection import Connection

    GeneratorManager = _GeneratorContextManager
    """What a function with ``@contextmanager`` returns: only the type stubs name it."""
    LazyText = _StrPromise
    """What ``gettext_lazy`` returns: only the type stubs name it."""

# -- Python ----------------------------------------------------------------------------------------


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


running_loop: Callable[[], asyncio.AbstractEventLoop | None]
running_loop = getattr(asyncio, "_get_running_loop", _running_loop)
"""Return the event loop of this thread, or None. The public function raises an exception instead of
returning None, which each dispatch would pay for. It replaces this one."""


def environment() -> Mapping[bytes, bytes]:
    """Return the dict that holds the environment variables. It is compared with a copy after each
    job, which costs 20 µs with `os.environb`. That replaces it.
    """
    found: Mapping[bytes, bytes] = getattr(os.environ, "_data", os.environb)
    return found


_signal: Any = sys.modules.get("_signal", signal)
getsignal, pthread_sigmask = _signal.getsignal, _signal.pthread_sigmask
"""Do as those of `signal`, which make an enum of each answer. They are called after each job. Those
of `signal` replace them."""


def compact_json() -> Callable[[Any], str]:
    """Return a function that makes compact ASCII JSON. It raises `ValueError` for nan and infinity,
    `TypeError` for what is not a JSON value.

    `JSONEncoder.encode` makes an encoder in C at each call, which takes longer than encoding most
    arguments; this one makes it once. Where there is none, `encode` replaces it.
    """
    encoder = json.JSONEncoder(
        ensure_ascii=True, allow_nan=False, separators=(",", ":"), check_circular=False
    )
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:  # not CPython
        return encoder.encode
    text = json.encoder.encode_basestring_ascii
    parts = make(None, encoder.default, text, None, ":", ",", False, False, False)
    return lambda value: "".join(parts(value, 0))


def wait_for_threads() -> None:
    """Wait for all threads that are not daemons, and end those of idle executors, as Python does at
    the end of a program. Nothing public does it in a process that ends with `os._exit`. Without it,
    threads that jobs have started are cut off.
    """
    getattr(threading, "_shutdown", _do_nothing)()


def run_exit_functions() -> None:
    """Run what was registered with `atexit`. Nothing public does it in a process that ends with
    `os._exit`. Without it, error trackers do not send what they hold.
    """
    getattr(atexit, "_run_exitfuncs", _do_nothing)()


def _do_nothing() -> None:
    pass


def helper_processes() -> set[int]:
    """Return the process numbers of multiprocessing's helpers, which are meant to stay. Without
    it, they are reported as programs that a job has left running.
    """
    found = set()
    for module, name, attribute in (
        ("multiprocessing.resource_tracker", "_resource_tracker", "_pid"),
        ("multiprocessing.forkserver", "_forkserver", "_forkserver_pid"),
    ):
        if module in sys.modules:
            pid = getattr(getattr(sys.modules[module], name, None), attribute, None)
            if pid is not None:
                found.add(pid)
    return found


# -- Django and asgiref ----------------------------------------------------------------------------


def delete_rows(rows: QuerySet[Any], using: str | None = None) -> int:
    """Delete `rows` with one ``DELETE``, and return how many they were.

    `QuerySet.delete` fetches them first if any receiver listens to the deletions of all models, as
    those of audit logs do. It replaces this.
    """
    alias = using or rows.db
    delete = getattr(rows, "_raw_delete", None)
    deleted = rows.using(alias).delete()[0] if delete is None else delete(alias)
    return deleted or 0  # None: no row can match, and the database was not asked


def fetched_rows(rows: QuerySet[Any]) -> list[Any] | None:
    """Return the rows of a queryset that has been evaluated, else None. Without it, a queryset that
    is passed to a job is always queried again.
    """
    found: list[Any] | None = getattr(rows, "_result_cache", None)
    return found


def yields_instances(rows: QuerySet[Any]) -> bool:
    """Return whether `rows` gives instances, and not the values of ``values()`` or ``dates()``.

    Nothing public says it, and a job would receive something else than was passed: so there is no
    replacement.
    """
    from django.db.models.query import ModelIterable

    return issubclass(rows._iterable_class, ModelIterable)


def unwrapped(lazy: Any) -> Model:
    """Return the instance in a `SimpleLazyObject` that has been evaluated, as ``request.user``.

    Nothing public gives it. Without it, the proxy is refused as an argument.
    """
    found: Model = vars(lazy).get("_wrapped", lazy)
    return found


def is_of_testcase(block: Any) -> bool:
    """Return whether `TestCase` has begun an atomic block, around a test: it never commits. Nothing
    public tells. Without it, jobs that a test dispatches wait for a commit.
    """
    return bool(getattr(block, "_from_testcase", False))


def forget_transaction(connection: BaseDatabaseWrapper) -> None:
    """Let Django believe that `connection` is in no transaction.

    Inside an atomic block Django closes a connection only after its own bookkeeping, and the job
    that opened the block has ended. There is no replacement.
    """
    connection.in_atomic_block = False
    connection.savepoint_ids = []
    connection.atomic_blocks = []
    connection.needs_rollback = False
    connection.run_on_commit = []
    connection.closed_in_transaction = False


def check_smtp_address(address: str, encoding: Any) -> None:
    """Raise what Django's SMTP backend raises for an `address` that it cannot send to.

    The backend checks addresses just before it sends, and a queued mail has to be refused earlier.
    Without either of these, a wrong address is found by the job.
    """
    from django.core.mail import message
    from django.core.mail.backends.smtp import EmailBackend

    if prepare := getattr(EmailBackend, "prep_address", None):  # Django 6.0
        prepare(None, address)
    elif sanitize := getattr(message, "sanitize_address", None):
        sanitize(address, encoding or settings.DEFAULT_CHARSET)


def read_time(connection: BaseDatabaseWrapper, value: Any) -> datetime | None:
    """Return a time that a cursor of `connection` gave, as the ORM returns it. SQLite gives texts,
    MySQL times without a zone.

    Nothing public converts a value of a statement that is not the ORM's. Without it, the statement
    has to be.
    """
    from django.db.models import DateTimeField, Value

    column = Value(None, output_field=DateTimeField())
    for convert in connection.ops.get_db_converters(column):
        value = convert(value, column, connection)
    read: datetime | None = value
    return read


def stream_of(output: OutputWrapper) -> TextIO:
    """Return the stream that a command's `stdout` or `stderr` writes to; the wrapper hides its
    encoding. There is no replacement.
    """
    found: Any = output._out  # the stubs take it for a method
    stream: TextIO = found
    return stream


def kept_filters(request: HttpRequest) -> QueryDict:
    """Return the query of the list that a page of the admin was opened from. Without it, a page
    that names no database shows the first one.
    """
    from django.http import QueryDict

    return QueryDict(request.GET.get("_changelist_filters", ""))


def has_request_thread() -> bool:
    """Return whether asgiref runs the synchronous code of this request in a thread of its own.
    Without it, an async view runs jobs for after the response at once.
    """
    from asgiref.sync import SyncToAsync

    context = getattr(SyncToAsync, "thread_sensitive_context", None)
    return context is not None and context.get(None) is not None


def is_context_local(local: Any) -> bool:
    """Return whether an `asgiref.local.Local` keeps its values in a context variable, which can be
    read without its locks and exceptions. They take 10 µs where nothing is set.
    """
    return type(getattr(getattr(local, "_storage", None), "_data", None)) is ContextVar


_translations: Any = trans_real
_zones: Any = timezone
_ARE_READABLE = all(is_context_local(getattr(of, "_active", None)) for of in (trans_real, timezone))


def may_have_language() -> bool:
    """Return False if no language has been activated here, which each dispatch asks. Without it,
    ``get_language()`` is asked each time.
    """
    return not _ARE_READABLE or _translations._active._storage._data.get(None) is not None


def has_language() -> bool:
    """Return whether a language has been activated here, so that ``override()`` has something to
    restore: without one it would activate that of LANGUAGE_CODE at its end.
    """
    return getattr(getattr(_translations, "_active", None), "value", None) is not None


def may_have_time_zone() -> bool:
    """Return False if no time zone has been activated here. Without it, ``get_current_timezone()``
    is asked each time.
    """
    return not _ARE_READABLE or _zones._active._storage._data.get(None) is not None


# -- clients of stores -----------------------------------------------------------------------------


def has_wait(raw: Any) -> bool:
    """Return whether `raw` is psycopg's connection, all of whose cursors wait for their answers
    through its method `wait`.

    That method knows no limit of time, and another one can stand in its place. Without it, as with
    psycopg2, there are only the limits that the server and the system's TCP keep.
    """
    return hasattr(raw, "pgconn") and hasattr(raw, "wait")


def socket_of(connection: Connection | None) -> socket.socket | None:
    """Return the socket of redis-py's `connection`, if it is open. Nothing public gives it.

    Without it, a worker polls redis instead of sleeping until a job comes, and each answer may take
    as long as the first.
    """
    found: socket.socket | None = getattr(connection, "_sock", None)
    return found
