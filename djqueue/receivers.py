"""`queued_receiver`: receivers of Django's signals that run as jobs."""

from __future__ import annotations

import enum
import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict, TypeVar, cast

from django.apps import apps
from django.db.models import Model
from django.db.models.fields.files import FieldFile
from django.db.models.signals import (
    m2m_changed,
    post_delete,
    post_migrate,
    post_save,
    pre_delete,
    pre_migrate,
    pre_save,
)
from django.dispatch import Signal
from django.http import HttpRequest

from djqueue import arguments
from djqueue.errors import InvalidJob, InvalidPayload, NotSerializable
from djqueue.jobs import registry
from djqueue.jobs.job import Job

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from djqueue.jobs.definition.options import OptionKeywords
    from djqueue.jobs.definition.spec import JobSpec

__all__ = ["ReceiverJob", "queued_receiver"]

R = TypeVar("R", bound=Callable[..., Any])

_DELETING = (pre_delete, post_delete)
_OF_FIXTURES = (pre_save, post_save, m2m_changed)
"""Those that fixtures send with ``raw=True``. Below Django 6.1, m2m_changed does not say so."""
_REQUEST = "a request ends with its response. Take what you need of it from djqueue.context"
_ORIGIN = "what a deletion began with is gone"
_TEXT = "="
"""Before a sender that is text."""


class Rebuilt(TypedDict):
    """An instance that no job could fetch: it is deleted, or not saved yet."""

    model: str
    db: str | None
    values: dict[str, Any]


class ReceiverJob(Job):
    """The base of the jobs of queued receivers."""

    sender: str | None
    """The label of a model, a text after ``=``, or the place of another sender among those of the
    receiver.
    """
    signal: int
    """The place of the signal among those of the receiver."""
    values: dict[str, Any]
    classes: dict[str, str]
    """Arguments that are models: their labels."""
    rebuilt: dict[str, Any]
    """Arguments that are instances which no job could fetch, each a `Rebuilt`."""

    _receiver: ClassVar[Receiver]

    @classmethod
    def _annotations(cls) -> Mapping[str, Any]:
        return {**super()._annotations(), "values": cls._receiver.carried()}

    def _call(self) -> Any:
        return self._receiver.call(self)


def queued_receiver(
    signal: Signal | Sequence[Signal],
    *,
    sender: Any = None,
    dispatch_uid: str | None = None,
    **options: Unpack[OptionKeywords],
) -> Callable[[R], R]:
    """Let a function receive a signal of Django's, or several, as a job.

        @queued_receiver(post_save, sender=Order, queue="mail")
        def order_saved(sender, instance, created, **kwargs): ...

    The job is dispatched where the signal is sent, and as part of the transaction that is open. An
    instance travels as a reference and is fetched again; the job is dropped if it is gone by then.
    An instance that was deleted, or is not saved yet, is made again of the values that its fields
    had. Everything else that the signal sends is carried if a job may have it as an argument; if
    not, `NotSerializable` at the signal names it. Requests are left out, and so are fixtures
    (``raw=True``) and the models of migrations.

    `sender` and `dispatch_uid` are what ``Signal.connect`` takes; senders may be a list. The
    options are those of a job.
    """

    def decorate(function: R) -> R:
        if isinstance(getattr(function, "job_class", None), type):
            raise InvalidJob(
                f"@queued_receiver {function.__qualname__}: the function is a job already. Give a "
                "list of signals to one decorator: queued_receiver([post_save, post_delete])."
            )
        signals = [signal] if isinstance(signal, Signal) else list(signal)
        senders = list(sender) if isinstance(sender, (list, tuple)) else [sender]
        receiver = Receiver(function, signals, senders)
        known = {spec.name: spec for spec in registry.all()}
        job_class = _make(receiver, options)
        name = cast("JobSpec", job_class._spec).name
        if name in known:
            _refuse_another(known[name], receiver)
        for each in signals:
            for one in senders:
                each.connect(
                    receiver.receive,
                    sender=one,
                    weak=False,
                    dispatch_uid=dispatch_uid or f"djqueue {name}",
                )
        cast("Any", function).job_class = job_class
        return function

    return decorate


class Receiver:
    """A function, and the signals and senders that it receives from."""

    job_class: type[ReceiverJob]

    def __init__(
        self, function: Callable[..., Any], signals: Sequence[Signal], senders: Sequence[Any]
    ) -> None:
        self.function = function
        self.signals = signals
        self.senders = senders
        parameters = inspect.signature(function).parameters
        self._named = set(parameters)
        where = f"@queued_receiver {function.__qualname__}"
        if not any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
            raise InvalidJob(f"{where}: receivers take **kwargs, because signals may send more.")
        if "request" in self._named:
            raise InvalidJob(f"{where}: no job can have 'request': {_REQUEST}.")
        if "origin" in self._named and any(each in _DELETING for each in signals):
            raise InvalidJob(f"{where}: no job can have 'origin': {_ORIGIN}.")
        if pre_migrate in signals or post_migrate in signals:
            raise InvalidJob(f"{where}: while migrations run there may be no table for its jobs.")

    def carried(self) -> Any:
        """Return the type of what is carried: that of each parameter by its annotation."""
        found = arguments.resolve_annotations(self.function)
        names = {name: found.get(name, Any) for name in self._named}
        return TypedDict("carried", names, total=False)  # type: ignore[operator]

    def receive(self, sender: Any, signal: Signal, **given: Any) -> None:
        """Dispatch a job for what a signal sends."""
        if (signal in _OF_FIXTURES and given.get("raw")) or _is_historical(sender):
            return
        is_deletion = signal in _DELETING
        values: dict[str, Any] = {}
        classes: dict[str, str] = {}
        rebuilt: dict[str, Any] = {}
        for name, value in given.items():
            if (is_deletion and name == "origin") or isinstance(value, HttpRequest):
                continue
            if isinstance(value, type) and issubclass(value, Model):
                classes[name] = value._meta.label
            elif isinstance(value, Model) and (
                value._state.adding or value.pk is None or is_deletion
            ):
                rebuilt[name] = _values(value)
            else:
                values[name] = value
        at = self.signals.index(signal)
        self.job_class(self._stored_sender(sender), at, values, classes, rebuilt).dispatch()

    def call(self, job: ReceiverJob) -> Any:
        """Call the function with what was carried."""
        given = {**job.values, "signal": self._signal(job.signal)}
        given.update((name, apps.get_model(label)) for name, label in job.classes.items())
        given.update((name, _instance(stored)) for name, stored in job.rebuilt.items())
        return self.function(sender=self._sender(job.sender), **given)

    def _stored_sender(self, sender: Any) -> str | None:
        if sender is None:
            return None
        if isinstance(sender, type) and issubclass(sender, Model):
            return sender._meta.label
        if isinstance(sender, str):
            return _TEXT + sender
        if sender in self.senders:
            return str(self.senders.index(sender))
        raise NotSerializable(
            f"{self.job_class.__name__} cannot have the sender {sender!r:.150}: it is no model. "
            "Name it, as in queued_receiver(…, sender=…). Nothing was queued."
        )

    def _sender(self, stored: str | None) -> Any:
        if stored is None:
            return None
        if stored.startswith(_TEXT):
            return stored.removeprefix(_TEXT)
        if not stored.isdecimal():
            return apps.get_model(stored)
        if int(stored) >= len(self.senders):
            raise InvalidPayload("The sender of the signal is no longer one of the receiver's.")
        return self.senders[int(stored)]

    def _signal(self, at: int) -> Signal | None:
        return self.signals[at] if at < len(self.signals) else None


def _refuse_another(known: JobSpec, new: Receiver) -> None:
    """Raise `InvalidJob` if the job that had this name is that of another receiver, written in the
    same place. Of those in different places a system check tells.
    """
    old: Receiver | None = getattr(known.job_class, "_receiver", None)
    if old is None or registry.find(known.name) is known:
        return
    first, second = inspect.unwrap(old.function), inspect.unwrap(new.function)
    if first.__code__.co_firstlineno == second.__code__.co_firstlineno:
        is_made_again = (old.signals, old.senders) == (new.signals, new.senders)
        if "<locals>" not in second.__qualname__ or (is_made_again and not second.__closure__):
            return  # the same one, of a module that is imported once more
    registry.register(known)
    raise InvalidJob(
        f'@queued_receiver {second.__qualname__}: there is a receiver called "{known.name}" '
        f"already, in line {first.__code__.co_firstlineno} of {first.__code__.co_filename}. A "
        "job is looked up by that name: rename one of the two, or give it a name: "
        'queued_receiver(…, name="…").'
    )


def _make(receiver: Receiver, options: OptionKeywords) -> type[ReceiverJob]:
    """Return the class of a receiver's jobs."""
    function = receiver.function

    async def handle_async(self: ReceiverJob) -> Any:
        return await self._call()

    def handle(self: ReceiverJob) -> Any:
        return self._call()

    body = {
        "__module__": function.__module__,
        "__qualname__": function.__qualname__,
        "__doc__": function.__doc__,
        "_receiver": receiver,
        "handle": handle_async if inspect.iscoroutinefunction(function) else handle,
    }
    given = {"delete_when_missing": True, **options}
    made = types.new_class(
        function.__name__, (ReceiverJob,), given, lambda namespace: namespace.update(body)
    )
    receiver.job_class = cast("type[ReceiverJob]", made)
    return receiver.job_class


def _is_historical(sender: Any) -> bool:
    """Return whether it is a model of a migration."""
    meta = getattr(sender, "_meta", None)
    return isinstance(sender, type) and meta is not None and meta.apps is not apps


def _values(instance: Model) -> Rebuilt:
    """Return the values of an instance's fields, without those that were never loaded."""
    own = instance.__dict__
    fields = [each.attname for each in instance._meta.concrete_fields if each.attname in own]
    return Rebuilt(
        model=instance._meta.label,
        db=instance._state.db,
        values={name: _plain(getattr(instance, name)) for name in fields},
    )


def _plain(value: Any) -> Any:
    if isinstance(value, FieldFile):
        return value.name
    return value.value if isinstance(value, enum.Enum) else value


def _instance(stored: Rebuilt) -> Model:
    model = apps.get_model(stored["model"])
    values = stored["values"]
    names = [each.attname for each in model._meta.concrete_fields if each.attname in values]
    instance: Model = model.from_db(stored["db"], names, [values[name] for name in names])
    instance._state.adding = stored["db"] is None
    return instance
