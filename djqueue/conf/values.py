"""The ``DJQUEUE`` setting as immutable values."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from django.utils.module_loading import import_string

from djqueue.conf.kinds import did_you_mean
from djqueue.errors import ConfigurationError, UnknownConnection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from djqueue.conf.kinds import Option


class Problem(NamedTuple):
    """A problem in the setting, reported by the system checks."""

    id: str
    message: str
    hint: str
    connection: str | None = None
    """The connection it is about; None if it is about all."""
    fatal: bool = True
    """False where a default can replace the value safely."""


class Route(NamedTuple):
    """The target that ``DJQUEUE["ROUTES"]`` gives a job. None: as without a route."""

    connection: str | None = None
    queue: str | None = None


NO_ROUTE = Route()


@dataclass(frozen=True)
class ConnectionSettings:
    """One of ``DJQUEUE["CONNECTIONS"]``."""

    name: str
    driver: str
    """A short name (``database``, ``redis``, …) or a dotted path."""
    queue: str = "default"
    retry_after: float = 90.0
    """Seconds without a heartbeat after which a reserved job may be reserved again."""
    after_commit: bool | None = None
    """None: the value of ``DJQUEUE["AFTER_COMMIT"]``."""
    compress_above: int | None = 4096
    """Payloads longer than this many bytes are compressed; None and 0: never."""
    store_above: int | None = None
    """Payloads longer than this many bytes are moved to the payload store; None and 0: only those
    that the driver cannot take."""
    outbox: bool = False
    """Whether jobs that wait for a commit are written to the outbox in the same transaction."""
    options: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)
    """The driver's keys, exactly as in the setting."""
    defaults: Mapping[str, Any] = field(default_factory=dict, hash=False, compare=False, repr=False)
    """The defaults of the driver's keys. A `Driver` fills them in."""

    @property
    def place(self) -> str:
        """Where it stands in the setting, for messages."""
        return f'DJQUEUE["CONNECTIONS"]["{self.name}"]'

    def with_defaults(self, options: Mapping[str, Option]) -> ConnectionSettings:
        """Return a copy with the defaults of its driver's keys."""
        return replace(self, defaults={key: option.default for key, option in options.items()})

    def option(self, key: str) -> Any:
        """Return the value of a driver's key, from the setting or the driver's default."""
        if key in self.options:
            return self.options[key]
        return self.defaults[key]

    @property
    def jobs_in_sql(self) -> bool:
        """Whether the driver keeps its jobs in one of the project's databases. In the ``DATABASE``
        of other drivers are their guard rows.
        """
        return _keeps_jobs_in_database(self.driver)

    @property
    def database(self) -> str:
        """The alias of the database with the jobs, for drivers that keep them in one."""
        return str(self.options.get("DATABASE", "default"))


@lru_cache(maxsize=64)
def _keeps_jobs_in_database(driver: str) -> bool:
    if "." not in driver:
        return driver == "database"  # known without importing any client library
    try:
        return bool(getattr(import_string(driver), "jobs_in_sql", False))
    except ImportError:  # a check reports it
        return False


@dataclass(frozen=True)
class PayloadSettings:
    """The payload store, for arguments that are too large for a queue."""

    database: str | None = None
    """The alias with a row for each entry; None: that of the default connection."""
    storage: str | None = None
    """The alias in ``STORAGES`` for the data; None: the data is in the row."""
    max_size: int = 64 * 1024 * 1024
    """The most bytes of arguments, as JSON. Dispatchers and workers refuse more."""


@dataclass(frozen=True)
class LimitSettings:
    """Where the slots of limits are kept."""

    database: str | None = None
    """An alias of ``DATABASES``; None: that of the default connection."""
    cache: str | None = None
    """An alias of ``CACHES``, which is django-redis; None: they are in the database."""


@dataclass(frozen=True)
class ResultSettings:
    """Where results of jobs are kept, and how long."""

    database: str = "default"
    keep_for: float = 86400.0
    """Seconds from the end of a job."""


@dataclass(frozen=True)
class MailSettings:
    """How queued mails are sent."""

    backend: str = "django.core.mail.backends.smtp.EmailBackend"
    """The path of the backend that sends them."""
    connection: str | None = None
    queue: str | None = None


@dataclass(frozen=True)
class NotifySettings:
    """Who hears of what is wrong, and from when on it is."""

    receivers: tuple[str, ...] = ()
    """``mail``, URLs, and dotted paths of functions; empty: nothing is looked for."""
    wait: float = 300.0
    """Seconds for which the oldest job of a queue may wait."""
    failures: int = 20
    """Failed jobs within five minutes that are a burst."""
    pause: float = 3600.0
    """Seconds after which a pause counts as forgotten."""


@dataclass(frozen=True)
class Settings:
    """The whole setting. Durations are in seconds."""

    default: str
    connections: Mapping[str, ConnectionSettings]
    after_commit: bool = True
    failed_jobs: str | None = "default"
    """The database alias of the failed jobs; None keeps none."""
    batches: str = "default"
    results: ResultSettings | None = ResultSettings()
    """None keeps none."""
    payloads: PayloadSettings | None = PayloadSettings()
    """None: arguments that a store cannot take are refused."""
    limits: LimitSettings = LimitSettings()
    middleware: tuple[str, ...] = ()
    """Dotted paths of what is around every job, outermost first."""
    routes: Mapping[str, Route] = field(default_factory=dict)
    unknown_job_grace: float = 600.0
    prune_failed_jobs: float | None = None
    prune_batches: float | None = 7 * 86400.0
    """Seconds for which finished batches are kept."""
    prune_payloads: float | None = 15 * 86400.0
    """Seconds for which large arguments are kept where their job cannot be looked up."""
    notify: NotifySettings = NotifySettings()
    mail: MailSettings = MailSettings()
    commands: tuple[str, ...] | None = None
    """Names of the management commands that may be queued; None: all but those never queued."""
    statistics: bool = True
    """Whether workers count the ends of jobs, and how long these took."""
    keep_done: float = 0.0
    """Seconds for which jobs that are done are listed; 0: they are not."""
    opentelemetry: str | None = None
    """How the spans of attempts are bound to those of dispatches: ``link`` or ``parent``; None:
    there are no spans."""
    metrics_token: str | None = field(default=None, repr=False)
    """Who shows it may read the metrics; None: only users who may see the overview."""
    streams: int = 500
    """Open pages to which one server process sends events; 0: all pages ask."""
    mask: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    """Further names whose values are masked, and names whose values are not."""
    encryption_keys: tuple[str, ...] = field(default=(), repr=False)
    """Fernet keys, before those that are derived from ``SECRET_KEY`` and its fallbacks."""
    encryption_accepts_plain: bool = False
    """Whether a plain payload of a job is run whose class is encrypted by now."""
    closure_keys: tuple[str, ...] = field(default=(), repr=False)
    """Keys that sign closures; empty: there are none."""
    problems: tuple[Problem, ...] = ()

    def connection(self, name: str | None = None) -> ConnectionSettings:
        """Return the connection called `name`, or the default one for None.

        Raises `UnknownConnection`, or `ConfigurationError` if one of its values is wrong.
        """
        wanted = self.default if name is None else name
        for problem in self.problems:
            if problem.fatal and problem.connection in (None, wanted):
                raise ConfigurationError(f"{problem.message} {problem.hint}")
        try:
            return self.connections[wanted]
        except KeyError:
            raise UnknownConnection(
                f'Unknown queue connection "{wanted}". DJQUEUE["CONNECTIONS"] defines: '
                f"{', '.join(self.connections) or 'nothing'}."
                f"{did_you_mean(wanted, self.connections)}"
            ) from None

    def route(self, job_name: str) -> Route:
        """Return the route of a job: that of its exact name, else of the first matching pattern."""
        exact = self.routes.get(job_name)
        if exact is not None:
            return exact
        for pattern, route in self.routes.items():
            if fnmatchcase(job_name, pattern):
                return route
        return NO_ROUTE

    @property
    def databases(self) -> tuple[str, ...]:
        """Every database alias that djqueue keeps something in; `job_database` first."""
        stores = [c for c in self.connections.values() if c.jobs_in_sql]
        stores.sort(key=lambda connection: connection.name != self.default)
        aliases = [connection.database for connection in stores]
        own = self.payloads.database if self.payloads else None
        guards = [c.options.get("DATABASE") for c in self.connections.values()]
        limits = self.limits.database
        results = self.results and self.results.database
        others = (self.failed_jobs, self.batches, results, own, limits, *guards)
        aliases += [alias for alias in others if isinstance(alias, str)]
        return tuple(dict.fromkeys(aliases))

    @property
    def shared_database(self) -> str:
        """The database alias of all that follows from the ends of jobs: failed jobs, what waits in
        chains, batches, results. One transaction writes it.
        """
        return self.batches

    @property
    def payload_database(self) -> str:
        """The database alias with a row for each payload in the payload store."""
        return (self.payloads and self.payloads.database) or self.job_database

    @property
    def limit_database(self) -> str:
        """The database alias with the slots of limits, where no cache has them."""
        return self.limits.database or self.job_database

    @property
    def job_database(self) -> str:
        """The database alias of the default connection, or else of the first that has one."""
        return self.databases[0]
