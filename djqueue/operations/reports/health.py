"""Is it well? For probes: each check has a name, and says what is wrong."""

from __future__ import annotations

import os
import pkgutil
import socket
import time
from contextlib import ExitStack, suppress
from functools import lru_cache
from importlib import import_module
from typing import NamedTuple

from django.db import DatabaseError, connections
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from djqueue.conf import settings
from djqueue.dispatch.connections import QueueConnection, members, queues
from djqueue.dispatch.outbox import outbox
from djqueue.errors import QueueError
from djqueue.operations.reports.queues.status import report
from djqueue.operations.reports.workers import workers
from djqueue.operations.words import in_english, number_of
from djqueue.text import shell
from djqueue.text.masking import masked_text
from djqueue.text.printable import one_line

__all__ = ["Check", "deep", "live", "ready"]


PATIENCE = 2.0
"""Seconds that a call to a store may take."""
LIMIT = 5.0
"""Seconds after which no further store is asked. Databases have the limits of their ``OPTIONS``."""


class Check(NamedTuple):
    """What was looked at."""

    name: str
    ok: bool
    text: str = ""
    """What is wrong, and what to do; of a check that is well, what was seen."""


def live(connection: str | None = None, host: str | None = None) -> list[Check]:
    """Return whether a worker of this machine, or of `host`, is alive: it renews its lease, and its
    process is there. With a `connection`, one that runs its jobs. Raises `UnknownConnection`.
    """
    if connection is not None:
        settings().connection(connection)
    here = socket.gethostname()
    host = here if host is None else host
    try:
        found = [each for each in workers(connection) if each.hostname == host]
    except (QueueError, DatabaseError) as error:
        return [Check("workers", ok=False, text=_said(error))]
    alive = [each for each in found if each.alive and (host != here or _is_there(each.pid))]
    if alive:
        return [Check("workers", ok=True, text=", ".join(each.name for each in alive))]
    of = "" if connection is None else f" of connection {connection}"
    text = f"No worker{of} runs on host {host}."
    if any(each.alive for each in found):
        text = f"The processes of the workers{of} on host {host} are gone."
    elif found:
        text = f"The workers{of} on host {host} have not renewed their leases."
    names = [[]] if connection is None else [[name] for name in members(connection)]
    start = f"python manage.py {' or '.join(shell.words('queue_work', *name) for name in names)}"
    return [Check("workers", ok=False, text=f"{text} Start one: {start}")]


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True


def ready(connection: str | None = None) -> list[Check]:
    """Return whether the databases have all tables, and the stores answer: each within `PATIENCE`,
    and all within `LIMIT`.
    """
    checks = [_migrated(alias) for alias in settings().databases]
    names = list(queues) if connection is None else [queues[connection].name]
    end = time.monotonic() + LIMIT
    return [*checks, *(_answers(name, end - time.monotonic()) for name in names)]


def _migrated(alias: str) -> Check:
    name = f"database {alias}"
    try:
        applied = MigrationRecorder(connections[alias]).applied_migrations()
    except DatabaseError as error:
        return Check(name, ok=False, text=_said(error))
    missing = _known_migrations() - {each for app, each in applied if app == "djqueue"}
    if not missing:
        return Check(name, ok=True)
    return Check(
        name,
        ok=False,
        text=f"Migrations are missing: {', '.join(sorted(missing))}. Run "
        f"python manage.py migrate djqueue --database {alias}",
    )


@lru_cache(maxsize=1)
def _known_migrations() -> frozenset[str]:
    """Return the names of djqueue's migrations. Read once: the loader imports those of all apps."""
    module, _ = MigrationLoader.migrations_module("djqueue")
    if module is None:  # MIGRATION_MODULES says that there are none
        return frozenset()
    found = pkgutil.iter_modules(import_module(module).__path__)
    return frozenset(each.name for each in found if each.name[0] not in "_~" and not each.ispkg)


def _answers(connection: str, left: float) -> Check:
    """Ask the store of a connection; `left`: the seconds that there are."""
    name = f"connection {connection}"
    if left <= 0:
        return Check(name, ok=False, text="It was not asked, as others took too long to answer.")
    try:
        asked = queues[connection]
        for member in asked.members:
            with queues[member].driver.patient(min(left, PATIENCE)):
                _look(queues[member])
    except (QueueError, DatabaseError) as error:
        return Check(name, ok=False, text=_said(error))
    return Check(name, ok=True)


def _look(asked: QueueConnection) -> None:
    """Ask the store something that is cheap however many jobs it has."""
    queue = asked.settings.queue
    if asked.settings.jobs_in_sql:
        asked.inspector.census([queue], at_most=1)
    else:
        asked.inspector.counts(queue)


def deep(connection: str | None = None) -> list[Check]:
    """Return what `ready` does, and whether all queues are read, no job's worker is gone, and no
    job is late on its way from the outbox to its store.
    """
    checks = ready(connection)
    if not all(each.ok for each in checks):
        return checks
    with ExitStack() as stack:
        for name in queues:
            with suppress(QueueError):  # a package is missing: the report says so
                stack.enter_context(queues[name].driver.patient(PATIENCE))
        found = report(connection)
    with in_english():  # machines read it
        wrong = [*map(str, found.problems), *found.unreachable]
    checks += [Check("queues", ok=False, text=text) for text in wrong]
    if not wrong:
        checks.append(Check("queues", ok=True, text=number_of(len(found.queues), "queue")))
    late = False
    with suppress(QueueError, DatabaseError):
        late = outbox.late("")
    text = "Jobs in the outbox are late on their way to their stores: no worker moves them."
    return [*checks, Check("outbox", ok=not late, text=text if late else "")]


def _said(error: Exception) -> str:
    return one_line(masked_text(str(error)))
