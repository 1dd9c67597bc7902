"""Another database in the place of `default`: for tests that need a server of their own."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from django.core.management import call_command
from django.db import connections
from django.db.utils import load_backend

from djqueue import queues
from tests import databases
from tests.services import MariaDB, PgBouncer, PostgreSQL

_TEMPLATE = "migrated"


@contextlib.contextmanager
def default_is(database: Mapping[str, Any]) -> Iterator[None]:
    """`default` is this database, here and in the processes that a test starts."""
    before, known = connections["default"], connections.settings["default"]
    settings = {**known, **database}
    # What Django makes anew, in a child or another thread, is made of these.
    connections.settings["default"] = settings
    connections["default"] = load_backend(settings["ENGINE"]).DatabaseWrapper(settings, "default")
    _forget_drivers()
    try:
        yield
    finally:
        connections["default"].close()
        connections.settings["default"] = known
        connections["default"] = before
        _forget_drivers()


def _forget_drivers() -> None:
    """They remember the database that they were made for."""
    vars(queues._local).clear()


def settings_of(server: PostgreSQL | PgBouncer | MariaDB, name: str) -> dict[str, Any]:
    """What `DATABASES` says about the database `name` of a running server."""
    engine, options = "postgresql", {}
    if isinstance(server, MariaDB):
        databases.use_pymysql_for_mysqlclient()
        engine = "mysql"
    elif isinstance(server, PostgreSQL) and server.tls:
        options = {"sslmode": "require"}
    return {
        "ENGINE": f"django.db.backends.{engine}",
        "NAME": name,
        "USER": server.user,
        "PASSWORD": server.password,
        "HOST": server.host,
        "PORT": server.port,
        "OPTIONS": options,
    }


@contextlib.contextmanager
def own_database(server: PostgreSQL | MariaDB) -> Iterator[dict[str, Any]]:
    """A new, migrated database on `server`, as `default`; its settings."""
    name = f"own_{uuid.uuid4().hex[:8]}"
    settings = settings_of(server, name)
    if isinstance(server, PostgreSQL):
        _make_template(server)
        server.psql(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
    else:
        with default_is(settings_of(server, "mysql")), connections["default"].cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
        _migrate(settings)
    with default_is(settings):
        yield settings


def _make_template(server: PostgreSQL) -> None:
    """Migrate one database of a server, of which the others are copies."""
    if not server.psql(f"SELECT 1 FROM pg_database WHERE datname = '{_TEMPLATE}'"):
        server.psql(f"CREATE DATABASE {_TEMPLATE}")
        _migrate(settings_of(server, _TEMPLATE))


def _migrate(settings: Mapping[str, Any]) -> None:
    with default_is(settings):
        call_command("migrate", verbosity=0, database="default", run_syncdb=True)
