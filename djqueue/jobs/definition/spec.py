"""A job as it is stored and run: an instance, and the spec of its class."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from asgiref.sync import async_to_sync
from django.utils.functional import Promise

from djqueue import arguments
from djqueue.conf import did_you_mean
from djqueue.errors import InvalidJob, InvalidPayload
from djqueue.jobs.definition.options import checked
from djqueue.jobs.definition.shown import call_repr
from djqueue.jobs.definition.uniqueness import key_of_arguments, key_of_id, key_of_name
from djqueue.payload.encryption import SHOWN
from djqueue.text.marks import mark

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence
    from uuid import UUID

    from djqueue.jobs.definition.durations import When
    from djqueue.jobs.definition.options import Middleware, Options
    from djqueue.payload.backoff import Backoff, Exponential
    from djqueue.payload.payload import Limits

__all__ = ["Handles", "JobInstance", "JobSpec", "spec_of", "spec_to_bind"]

R_co = TypeVar("R_co", covariant=True)

_UNRESOLVED = (
    '{where} is annotated "{name}", which names nothing that the module has when it runs, so '
    "djqueue cannot tell what may be stored. Import it outside `if TYPE_CHECKING:`. Ruff leaves it "
    'there with runtime-evaluated-base-classes = ["djqueue.Job"] and runtime-evaluated-decorators '
    '= ["djqueue.job"] in its settings lint.flake8-type-checking.'
)

LONGEST_NAME = 200
"""Characters of a display name that are stored."""


class Handles(Protocol[R_co]):
    """A job whose ``handle()`` returns an ``R``, or a coroutine of one."""

    @property
    def handle(self) -> Callable[..., R_co]:
        """The method that does the work."""


class JobInstance:
    """A job with its arguments, as it is stored and loaded. `djqueue.jobs.job.Job` can also be
    dispatched.
    """

    _own_options: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    _spec: ClassVar[JobSpec | None] = None
    _using: Mapping[str, Any] = MappingProxyType({})
    """The options given to ``using()``."""

    if TYPE_CHECKING:

        def handle(self, *args: Any, **kwargs: Any) -> Any:
            """Do the work. ``dispatch_sync()`` returns the value. May be ``async``."""

    def failed(self, error: BaseException) -> Any:
        """React to the failure of the job. Called once, after its failed row is stored."""

    # -- options that a class may compute for each instance ------------------------------------

    def backoff(self) -> float | Sequence[float] | Exponential | None:
        """Return the seconds before the next attempts. Called after an attempt that raised."""
        return self._option("backoff")  # type: ignore[no-any-return]

    def middleware(self) -> Sequence[Middleware]:
        """Return what runs around ``handle()``, the outermost first. Called before each attempt."""
        return self._option("middleware") or ()

    def retry_until(self) -> When | None:
        """Return until when attempts may begin. Called at the dispatch."""
        return self._option("retry_until")  # type: ignore[no-any-return]

    def tags(self) -> Sequence[str]:
        """Return words to find the job by. Called at the dispatch."""
        return self._option("tags")  # type: ignore[no-any-return]

    def unique_id(self) -> str | int | UUID:
        """Return what tells apart jobs of this class that may be queued at the same time. Called at
        the dispatch of a job with ``unique=True``, where without it the arguments do; and with
        ``debounce``, where without it all jobs of the class are one.
        """
        raise NotImplementedError

    def display_name(self) -> str:
        """Return the name that operators read. Called at the dispatch."""
        return self._spec.name if self._spec else type(self).__qualname__

    def _option(self, name: str) -> Any:
        if name in self._using:
            return self._using[name]
        return getattr(self._spec.options, name) if self._spec else None

    # -- arguments -----------------------------------------------------------------------------

    def _arguments(self) -> Mapping[str, Any]:
        """Return the arguments by name; other keys may be among them."""
        return self.__dict__

    @classmethod
    def _from_arguments(cls, values: Mapping[str, Any]) -> JobInstance:
        return cls(**values)

    @classmethod
    def _annotations(cls) -> Mapping[str, Any]:
        """Return the type of each argument, in the order of the fields."""
        found = arguments.resolve_annotations(cls)
        return {each.name: found.get(each.name, Any) for each in _fields(cls)}

    @classmethod
    def _returns(cls) -> Any:
        """Return the type of what ``handle()`` returns."""
        return arguments.resolve_annotations(cls.handle).get("return", Any)

    @classmethod
    def _required(cls) -> frozenset[str]:
        """Return the arguments without a default."""
        return frozenset(
            each.name
            for each in _fields(cls)
            if each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
        )

    def __repr__(self) -> str:
        values = self._arguments()
        return self._call_repr({f.name: values.get(f.name) for f in _fields(type(self))})

    def _call_repr(self, values: Mapping[str, Any]) -> str:
        """Return the job for a log. Of an encrypted one it shows no value."""
        name = type(self).__qualname__
        hides = self._spec is not None and self._spec.options.encrypted
        return f"{name}({SHOWN})" if hides else call_repr(name, values)


def _fields(cls: Any) -> list[dataclasses.Field[Any]]:
    return [each for each in dataclasses.fields(cls) if each.init]


class JobSpec:
    """What is known of a job class: its name, its options, and how its arguments are stored."""

    def __init__(
        self,
        name: str,
        job_class: type[JobInstance],
        options: Options,
        per_instance: frozenset[str],
    ) -> None:
        self.name = name
        self.job_class = job_class
        self.options = options
        self.limits: Limits = options.limits()
        self.is_async = inspect.iscoroutinefunction(job_class.handle)
        self.per_instance = per_instance
        """Which methods the class defines that compute a value for each instance."""

    @property
    def aliases(self) -> tuple[str, ...]:
        """Names that older payloads carry."""
        return self.options.aliases

    @cached_property
    def _codecs(self) -> Mapping[str, tuple[arguments.Codec, str]]:
        """The codec of each argument, and the argument's name in errors."""
        # Computed late: an annotation may name what is imported or defined after the class.
        found = {}
        for name, annotation in self.job_class._annotations().items():
            where = f'{self.name}: argument "{name}"'
            if missing := arguments.missing_name(annotation):
                raise InvalidJob(_UNRESOLVED.format(where=where, name=missing))
            found[name] = arguments.compile(annotation), where
        return found

    @cached_property
    def value_codec(self) -> arguments.Codec:
        """The codec of what ``handle()`` returns; that of any value where it has no annotation, or
        one that cannot be resolved.
        """
        annotation = self.job_class._returns()
        return arguments.compile(Any if arguments.missing_name(annotation) else annotation)

    def warm_up(self) -> InvalidJob | None:
        """Read the annotations now, which the first job would do otherwise. Return the error that
        a dispatch would raise because of them.
        """
        try:
            _ = self._codecs
        except InvalidJob as error:
            return error
        return None

    def encode(self, job: JobInstance) -> dict[str, Any]:
        """Return the arguments of `job` as JSON values. Raises `NotSerializable`, and `InvalidJob`
        where an annotation cannot be resolved.
        """
        values = job._arguments()
        return {
            name: codec.encode(values[name], where) for name, (codec, where) in self._codecs.items()
        }

    def encode_argument(self, name: str, value: Any) -> Any:
        """Return the value of one argument as a JSON value. Raises `NotSerializable`."""
        codec, where = self._codecs[name]
        return codec.encode(value, where)

    def load(self, stored: Mapping[str, Any]) -> JobInstance:
        """Return the job with these arguments; models are fetched from the database.

        An argument that was added to the code later may be missing if it has a default. Raises
        `InvalidPayload` if the arguments do not fit the code, and `ModelMissing`.
        """
        codecs = self._codecs
        if stored.keys() != codecs.keys():
            unknown = [name for name in stored if name not in codecs]
            missing = [name for name in self.job_class._required() if name not in stored]
            if unknown or missing:
                raise InvalidPayload(self._mismatch(unknown, missing))
        values = {}
        for name, value in stored.items():
            codec, where = codecs[name]
            values[name] = codec.decode(value, where)
        return self.job_class._from_arguments(values)

    def call(self, job: JobInstance) -> Any:
        """Call ``handle()``. Returns its value; a coroutine where `is_async`."""
        return job.handle()

    @property
    def has_failed_method(self) -> bool:
        """Whether the class has a ``failed()`` of its own."""
        return self.job_class.failed is not JobInstance.failed

    def failed(self, job: JobInstance, error: BaseException) -> None:
        """Call the ``failed()`` method of `job`, to its end if it is async."""
        answer = job.failed(error)
        if inspect.iscoroutine(answer):
            async_to_sync(_finish)(answer)

    def backoff(self, job: JobInstance) -> Backoff | None:
        """Return what the job's ``backoff()`` method says; None if its class defines none."""
        if "backoff" not in self.per_instance:
            return None
        value: Backoff | None = self._computed("backoff", job.backoff())
        return value

    def middleware(self, job: JobInstance) -> tuple[Middleware, ...]:
        """Return what the job's ``middleware()`` method says, or its option."""
        if "middleware" not in self.per_instance:
            return self.options.middleware
        value: tuple[Middleware, ...] = self._computed("middleware", job.middleware())
        return value

    def may_retry(self, error: object) -> bool:
        """Return whether ``fail_on`` and ``retry_on`` let the job be tried again after `error`."""
        options = self.options
        if isinstance(error, options.fail_on):
            return False
        return options.retry_on is None or isinstance(error, options.retry_on)

    def retry_until(self, job: JobInstance) -> When | None:
        """Return until when attempts may begin, from the job's method or its option."""
        if "retry_until" not in self.per_instance:
            return self.options.retry_until
        value: When | None = self._computed("retry_until", job.retry_until())
        return value

    def tags(self, job: JobInstance, given: tuple[str, ...]) -> tuple[str, ...]:
        """Return what the job's ``tags()`` method says; `given` if its class defines none."""
        if "tags" not in self.per_instance:
            return given
        value: tuple[str, ...] = self._computed("tags", job.tags())
        return value

    def display_name(self, job: JobInstance) -> str:
        """Return what the job's ``display_name()`` method says, cut to 200 characters; an empty
        text if its class defines none. Raises `InvalidJob` where that is no text.
        """
        if "display_name" not in self.per_instance:
            return ""
        value: object = job.display_name()
        if not isinstance(value, (str, Promise)):
            shown = type(value).__name__ if self.options.encrypted else f"{value!r:.150}"
            raise InvalidJob(f"{self.name}.display_name() returned {shown}, not a text.")
        return str(value)[:LONGEST_NAME]

    def unique_key(self, job: JobInstance) -> str:
        """Return the key of which there is one job at a time: the name, and what ``unique_id()``
        says or a digest of the arguments. Raises `InvalidJob`.
        """
        if "unique_id" in self.per_instance:
            return key_of_id(self.name, self._unique_id(job), hides=self.options.encrypted)
        return key_of_arguments(self.name, self.encode(job), hides=self.options.encrypted)

    def debounce_key(self, job: JobInstance) -> str:
        """Return the key of which one job waits at a time: the name, and what ``unique_id()`` says
        where there is one. Raises `InvalidJob`.
        """
        if "unique_id" in self.per_instance:
            return key_of_id(self.name, self._unique_id(job), hides=self.options.encrypted)
        return key_of_name(self.name)

    def _unique_id(self, job: JobInstance) -> object:
        try:
            return job.unique_id()
        except Exception as error:
            mark(error, encrypted=self.options.encrypted)
            raise

    def _computed(self, name: str, value: Any) -> Any:
        return checked({name: value}, f"{self.name}.{name}()")[name]

    def _mismatch(self, unknown: list[str], missing: list[str]) -> str:
        parts = [f"it has {', '.join(unknown)}, which the code does not take"] if unknown else []
        parts += [f"it lacks {', '.join(missing)}"] if missing else []
        return (
            f"The payload's arguments do not fit {self.name}: {' and '.join(parts)}. The job was "
            "dispatched by another version of the code: give new arguments a default, and keep "
            "removed arguments until all queued jobs have run."
        )

    def __repr__(self) -> str:
        return f"<JobSpec {self.name}>"


async def _finish(coroutine: Coroutine[Any, Any, Any]) -> None:
    await coroutine


def spec_to_bind(job: object) -> JobSpec:
    """Do as `spec_of` for a job of a chain or a batch. Raises `InvalidJob` for a debounced one."""
    spec = spec_of(job)
    if spec.options.debounce is not None:
        raise InvalidJob(
            f"{spec.name} is debounced, so another dispatch may take its place: it can be no part "
            "of a chain or a batch. Make a job without debounce= that does the same, or let the "
            "last step dispatch this one. Nothing was queued."
        )
    return spec


def spec_of(job: object) -> JobSpec:
    """Return the spec of a job that is to be dispatched. Raises `TypeError`, with the spelling that
    works, for anything that is not an instance of a job.
    """
    spec = getattr(job, "_spec", None)
    if isinstance(spec, JobSpec) and not isinstance(job, type):
        return spec
    raise TypeError(_not_a_job(job))


def _not_a_job(job: object) -> str:
    if isinstance(job, type):
        return (
            f"{job.__name__} is a class: dispatch an instance, as in {job.__name__}(…).dispatch()."
        )
    if callable(job):
        name = getattr(job, "__name__", repr(job))
        first = "" if hasattr(job, "dispatch") else " Decorate it with @job, then"
        return (
            f"{name} is a function, not a job with its arguments.{first or ' Write'} "
            f"{name}.dispatch(…), or {name}.bind(…) where a job is wanted."
        )
    if hasattr(job, "_own_options"):  # of a Job that is abstract
        cls = type(job)
        methods = [name for name, value in vars(cls).items() if inspect.isfunction(value)]
        return (
            f"{cls.__name__} is abstract, as it has no handle(), so its instances are not jobs."
            f"{did_you_mean('handle', methods).replace('Did you mean', 'Is it meant by')}"
        )
    return (
        f"{job!r:.200} is not a job. Jobs are instances of a subclass of djqueue.Job with a "
        "handle() method, dispatched as in SendReceipt(order).dispatch(), not as in "
        "SendReceipt.dispatch(order)."
    )
