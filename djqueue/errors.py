"""Every error of djqueue, in one tree.

    QueueError
    ├── ConfigurationError          the settings cannot work (also ImproperlyConfigured)
    │   ├── UnknownConnection       no such alias in DJQUEUE["CONNECTIONS"] (also KeyError)
    │   └── MissingPackage          a driver's client library is not installed (also ImportError)
    ├── InvalidJob                  a job class or function is declared wrongly (also TypeError)
    ├── NotSerializable             an argument that cannot be queued (also TypeError)
    ├── InvalidContext              a value that the context cannot have (also ValueError)
    ├── PayloadError                a stored payload cannot be run
    │   ├── InvalidPayload          not a payload of djqueue, or damaged
    │   ├── UnknownJob              a name that no running code knows
    │   ├── ModelMissing            a model instance in the arguments no longer exists
    │   └── Undecryptable           none of the keys decrypts what the payload carries
    ├── QueueUnavailable            a store cannot be reached, or refused the request
    ├── Unsupported                 this store cannot do that, with the reason
    ├── LimitReached                a limit lets nothing more pass for now (`retry_in`)
    ├── UnknownLimit                no limit of that name is defined (also LookupError)
    ├── NotInJob                    current_job() outside a job (also LookupError)
    ├── JobNotFound                 no job has that id (also LookupError)
    ├── UnknownState                no job can be in that state (also ValueError)
    ├── ResultNotStored             no result is kept for this job
    ├── ResultTimeout               a result was not there in time (also TimeoutError)
    ├── JobFailed                   the job whose result was asked for has failed
    ├── InvalidCommand              a command that cannot be queued like this (also ValueError)
    ├── CommandFailed               a queued command ended with another exit code than 0
    ├── MailRefused                 the mail server refuses a queued mail for good
    └── AttemptError                why an attempt ended without returning or raising
        ├── TimeoutExceeded         it ran longer than its timeout
        ├── MaxAttemptsExceeded     it had no tries left, or its retry_until has passed
        ├── MemoryExceeded          its process grew above --memory-kill
        ├── ProcessDied             its process exited or was ended by a signal
        ├── WorkerLost              its workers died too often while they ran it
        ├── LeaseLost               its reservation was lost to another worker
        └── ManuallyFailed          fail() was called with a text

`JobTimeout` is not below `QueueError`: it is raised inside a running job, and derives from
`BaseException` so that `except Exception` in a job does not catch it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from django.core.exceptions import ImproperlyConfigured


class QueueError(Exception):
    """The base of all errors of djqueue."""


class ConfigurationError(QueueError, ImproperlyConfigured):
    """The settings are wrong."""


class UnknownConnection(ConfigurationError, KeyError):
    """``DJQUEUE["CONNECTIONS"]`` has no connection with that name."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class MissingPackage(ConfigurationError, ImportError):
    """A driver needs a package that is not installed."""


class InvalidJob(QueueError, TypeError):
    """A job class or function is declared wrongly."""


class NotSerializable(QueueError, TypeError):
    """An argument has a type that cannot be queued."""


class InvalidContext(QueueError, ValueError):
    """The context cannot have this value: it is no JSON, or the context would be above 8 KiB."""


class PayloadError(QueueError):
    """A stored payload cannot be run."""


class InvalidPayload(PayloadError):
    """The stored text is not a payload of djqueue, or it is damaged."""


class UnknownJob(PayloadError):
    """The payload names a job that no running code knows."""


class ModelMissing(PayloadError):
    """A model instance in the job's arguments no longer exists."""


class ClosureRefused(PayloadError):
    """A closure was not signed by a key of this project, or by another version of Python."""


class Undecryptable(PayloadError):
    """None of the keys decrypts a part of the payload."""


class QueueUnavailable(QueueError):
    """A store cannot be reached, or it refused the request. After a push, `stored` has the ids of
    the jobs that are in the store anyway.
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
        """Ids of the pushed jobs that are in the store. The others are not, as far as is known: see
        `ambiguous`."""
        self.refused: Mapping[str, str] = dict(refused or {})
        """Ids of the pushed jobs that the store will never accept as they are, each with the
        reason."""
        self.ambiguous = ambiguous
        """Whether the request may have been carried out: the connection broke between the request
        and its answer. False where nothing was sent, or where the store refused."""
        self.locked = False
        """The store answers, but another transaction locks it for all writers (SQLite only). While
        it is locked, no other worker can take over reserved jobs."""


class Unsupported(QueueError):
    """The store of this connection cannot do that; the message says why."""


class LimitReached(QueueError):
    """A limit lets nothing more pass for now. A job that it leaves, or whose middleware it leaves,
    goes back into its queue for `retry_in` seconds; that is no attempt.
    """

    def __init__(self, message: str, retry_in: float) -> None:
        super().__init__(message)
        self.retry_in = retry_in
        """Seconds after which it may be tried again. Jobs that are refused one after another are
        given one time after another, so that they do not all come back at once."""

    def __reduce__(self) -> tuple[type[LimitReached], tuple[str, float]]:
        return type(self), (str(self), self.retry_in)


class UnknownLimit(QueueError, LookupError):
    """No limit of that name is defined."""


class NotInJob(QueueError, LookupError):
    """``current_job()`` was called outside a job."""


class JobNotFound(QueueError, LookupError):
    """No job has that id, or several ids begin or end with it."""


class UnknownState(QueueError, ValueError):
    """The name is not one of the states of a job."""


class ResultNotStored(QueueError):
    """No result is kept for this job."""


class ResultTimeout(QueueError, TimeoutError):
    """The job had not ended when the time was over in which its result was awaited."""


class JobFailed(QueueError):
    """The job whose result was asked for has failed, or was cancelled."""


class InvalidCommand(QueueError, ValueError):
    """There is no such management command, it takes other arguments, or it may not be queued."""


class CommandFailed(QueueError):
    """A queued command ended with another exit code than 0. The message ends with its output."""


class MailRefused(QueueError):
    """The mail server refuses a queued mail, or all its recipients, for good."""


class AttemptError(QueueError):
    """The attempt ended without returning or raising."""


class TimeoutExceeded(AttemptError):
    """The attempt ran longer than its timeout and was stopped."""


class MaxAttemptsExceeded(AttemptError):
    """The job had no tries left, or its ``retry_until`` had passed, before this attempt began."""


class MemoryExceeded(AttemptError):
    """The attempt's process grew above ``--memory-kill`` and was killed."""


class ProcessDied(AttemptError):
    """The attempt's process ended without reporting: by a signal, or because it exited."""


class WorkerLost(AttemptError):
    """The workers that ran this job died too often; how those attempts ended is unknown."""


class LeaseLost(AttemptError):
    """The reservation is lost: another worker took the job, or it was deleted or cancelled."""


class BatchCancelled(AttemptError):
    """The batch of the job was cancelled, so it is not run."""


class ManuallyFailed(AttemptError):
    """The job called ``fail()`` with a text instead of an exception."""


class JobTimeout(BaseException):
    """Raised inside a job that has run for its timeout. It is recorded as `TimeoutExceeded`."""
