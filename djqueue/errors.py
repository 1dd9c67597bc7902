"""Every error of djqueue, in one tree.

    QueueError
    ├── ConfigurationError          the settings cannot work (also ImproperlyConfigured)
    │   ├── UnknownConnection       no such alias in DJQUEUE["CONNECTIONS"] (also KeyError)
    │   └── MissingPackage          a driver's client library is not installed (also ImportError)
    ├── InvalidJob                  a job class or function is declared wrongly (also TypeError)
    ├── NotSerializable             an argument that a queue cannot carry (also TypeError)
    ├── PayloadError                what is stored cannot be run
    │   ├── InvalidPayload          not a payload of ours, or damaged
    │   ├── UnknownJob              a name that no running code knows
    │   └── ModelMissing            a model the job was dispatched with is gone
    ├── QueueUnavailable            a store cannot be reached, or refused the request
    ├── Unsupported                 this store cannot do that, with the reason
    ├── NotInJob                    current_job() outside a job (also LookupError)
    ├── JobNotFound                 no job has that id (also LookupError)
    ├── UnknownState                no job can be in that state (also ValueError)
    ├── ResultNotStored             no result is kept for this job
    ├── JobFailed                   the job whose result was asked for has failed
    └── AttemptError                why an attempt ended without an answer
        ├── TimeoutExceeded         it ran longer than its timeout
        ├── MaxAttemptsExceeded     it had no try left, or its retry_until has passed
        ├── MemoryExceeded          its process grew above --memory-kill
        ├── ProcessDied             its process ended by itself or by a signal
        ├── WorkerLost              its workers died too often while they ran it
        ├── LeaseLost               somebody else took the job meanwhile
        └── ManuallyFailed          fail() was called with a text

`JobTimeout` stands apart: it is raised inside a running job, and derives from `BaseException` so
that `except Exception` in a job cannot swallow it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from django.core.exceptions import ImproperlyConfigured


class QueueError(Exception):
    """The root of everything that djqueue raises."""


class ConfigurationError(QueueError, ImproperlyConfigured):
    """The settings cannot work as they are."""


class UnknownConnection(ConfigurationError, KeyError):
    """No connection of that name is in ``DJQUEUE["CONNECTIONS"]``."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class MissingPackage(ConfigurationError, ImportError):
    """A driver needs a package that is not installed."""


class InvalidJob(QueueError, TypeError):
    """A job class or function is declared in a way that cannot work."""


class NotSerializable(QueueError, TypeError):
    """An argument is of a type that a queue cannot carry."""


class PayloadError(QueueError):
    """What is stored cannot be turned into a running job."""


class InvalidPayload(PayloadError):
    """The stored text is no payload of djqueue's, or it is damaged."""


class UnknownJob(PayloadError):
    """The payload names a job that no running code knows."""


class ModelMissing(PayloadError):
    """A model instance the job was dispatched with no longer exists."""


class QueueUnavailable(QueueError):
    """A store cannot be reached, or it refused the request. Of a push, `stored` names the jobs that
    it has all the same.
    """

    def __init__(
        self,
        *args: object,
        ambiguous: bool = True,
        stored: Iterable[str] = (),
        refused: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(*args)
        self.stored = frozenset(stored)
        """Ids of the jobs of this push that are in the store. The others are not, as far as is
        known: see `ambiguous`."""
        self.refused: Mapping[str, str] = dict(refused or {})
        """Ids of the jobs of this push that the store will never take as they are, however often
        they are pushed, and the reason for each."""
        self.ambiguous = ambiguous
        """Whether the store may have done it all the same: the connection broke off between the
        request and its answer. False where nothing had been sent, or the store said no."""
        self.locked = False
        """The store answers, and somebody's open transaction keeps everybody from writing to it, as
        only SQLite has it: while that is so nobody can take over what a worker holds."""


class Unsupported(QueueError):
    """The store behind this connection cannot do that; the message says why."""


class NotInJob(QueueError, LookupError):
    """``current_job()`` was called outside a job."""


class JobNotFound(QueueError, LookupError):
    """No job has that id, or several have one that begins or ends like it."""


class UnknownState(QueueError, ValueError):
    """What was asked for is not one of the states of a job."""


class ResultNotStored(QueueError):
    """No result is kept for this job."""


class JobFailed(QueueError):
    """The job whose result was asked for has failed."""


class AttemptError(QueueError):
    """An attempt ended without an answer of the job's own."""


class TimeoutExceeded(AttemptError):
    """The attempt ran longer than its timeout and was stopped."""


class MaxAttemptsExceeded(AttemptError):
    """The job had no try left, or its ``retry_until`` had passed, before this attempt began."""


class MemoryExceeded(AttemptError):
    """The attempt's process grew above ``--memory-kill`` and was killed."""


class ProcessDied(AttemptError):
    """The attempt's process ended without reporting: a signal, or an exit of its own."""


class WorkerLost(AttemptError):
    """The workers that ran this job died too often; nobody saw how those attempts ended."""


class LeaseLost(AttemptError):
    """The reservation is no longer ours: somebody else took, deleted or cancelled the job."""


class ManuallyFailed(AttemptError):
    """The job called ``fail()`` with a text instead of an exception."""


class JobTimeout(BaseException):
    """Raised inside a job when its timeout is over; recorded as `TimeoutExceeded`."""
