"""`fake_queue`: jobs are recorded instead of run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, overload

from djqueue.composition.chains.beginning import EncodedChain
from djqueue.composition.chains.staging import BatchStep
from djqueue.dispatch.dispatched import DispatchedJob
from djqueue.dispatch.inline import run_here
from djqueue.dispatch.recording import recorders
from djqueue.events.listening import Listener
from djqueue.jobs.job import Job
from djqueue.testing.bound import (
    RecordedBatch,
    RecordedSteps,
    first_jobs,
    recorded_in,
    shown,
)
from djqueue.testing.decorating import decorated
from djqueue.testing.nearest import nearest, times_in_words
from djqueue.testing.pending import Pending, RecordedJob
from djqueue.testing.recorded import Recorded

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Unpack

    from djqueue.composition.chains.beginning import Step
    from djqueue.dispatch.outgoing import Sendable

__all__ = ["FakeQueue", "fake_queue"]

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
Wanted = type[Job] | type[Listener] | Callable[..., Any]
"""A job class, or what has one: a job function, a queued listener or receiver."""
Where = Callable[[Any], object]


class Place(TypedDict, total=False):
    """Where and when a job was to run."""

    queue: str | None
    connection: str | None
    delay: float | timedelta | None


class FakeQueue:
    """The dispatches of the process while it is in use: on any connection, from any thread, before
    the commit. Arguments are checked and encoded as they always are; nothing reaches a store.
    """

    def __init__(self, only: Iterable[Wanted] = (), except_: Iterable[Wanted] = ()) -> None:
        """Raises `TypeError` for both together, and for what is neither a job class nor a job
        function.
        """
        self._only = tuple(map(_class_of, only))
        self._except = tuple(map(_class_of, except_))
        if self._only and self._except:
            raise TypeError("fake_queue() takes only= or except_=, not both.")
        self.recorded: list[Recorded] = []
        """Each dispatch with its connection, queue and delay, in order."""
        self.chains: list[RecordedSteps] = []
        """The chains among them, whose first steps are in `recorded`."""
        self.batches: list[RecordedBatch] = []
        """The batches among them, whose members are in `recorded`."""
        self._pending = Pending()
        """What `run` has not run yet."""

    # -- using it ------------------------------------------------------------------------------

    def __enter__(self) -> FakeQueue:
        recorders.open(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        recorders.close(self)

    def __call__(self, target: Decorated) -> Decorated:
        """Decorate a test function, or a class for each of its tests, with a fake of its own."""
        return decorated(target, lambda: FakeQueue(self._only, self._except), "fake_queue")

    def takes(self, job: object) -> bool:
        """Return whether a job is recorded. Called by `dispatch`."""
        if self._only:
            return isinstance(job, self._only)
        return not isinstance(job, self._except)

    def record(self, job: Sendable) -> DispatchedJob[Any]:
        """Take a dispatch. Called by `dispatch`."""
        id = job.outgoing.id
        if (holder := self._pending.holder(job)) is not None:
            return RecordedJob(id, holder, self._pending, existing=holder.id)
        replaced = self._pending.replaced(job)
        recorded = Recorded.of(job, replaced)
        self._pending.add(recorded, job)
        if replaced is not None:
            self.recorded[self.recorded.index(replaced)] = recorded
            return RecordedJob(recorded.id, recorded, self._pending, existing=recorded.id)
        self.recorded.append(recorded)
        return RecordedJob(id, recorded, self._pending)

    def result(self, job: Wanted, value: object) -> None:
        """Let ``result()`` of each dispatch of `job` return `value`, or raise it where it is an
        exception.
        """
        self._pending.results[_class_of(job)] = value

    def record_chain(
        self, steps: Sequence[Step], on_failure: Sequence[Sendable]
    ) -> DispatchedJob[Any]:
        """Take a dispatch of a chain. Called by `Chain.dispatch`."""
        chain = self._chain(steps, on_failure)
        self.chains.append(chain)
        first = steps[0]
        if not isinstance(first, BatchStep):
            return self.record(first)
        recorded = next(recorded_in(chain.steps), None)
        if recorded is None:
            return DispatchedJob(first.id)
        self.recorded.append(recorded)
        self._pending.add(recorded)
        return RecordedJob(recorded.id, recorded, self._pending)

    def _chain(self, steps: Sequence[Step], on_failure: Sequence[Sendable]) -> RecordedSteps:
        alert = Recorded.of(on_failure[0]) if on_failure else None
        return RecordedSteps(list(map(self._step, steps)), alert)

    def _step(self, step: Step) -> Recorded | RecordedBatch:
        if not isinstance(step, BatchStep):
            return Recorded.of(step)
        members = [
            self._chain(each.steps, each.on_failure)
            if isinstance(each, EncodedChain)
            else Recorded.of(each)
            for each in step.batch.encoded(step)
        ]
        self.batches.append(RecordedBatch(step.batch.name, first_jobs(members)))
        return RecordedBatch(step.batch.name, members)

    def record_batch(self, name: str, members: Sequence[Any]) -> int:
        """Take a dispatch of a batch. Called by `Batch.dispatch`."""
        before = len(self.recorded)
        for each in members:
            if isinstance(each, EncodedChain):
                self.record_chain(each.steps, each.on_failure)
            else:
                self.record(each)
        self.batches.append(RecordedBatch(name, self.recorded[before:]))
        return len(members)

    def run(self) -> int:
        """Run what is recorded and has not run yet, delayed or not, and what those jobs dispatch
        themselves. Return the number of jobs that ran.

        Each runs once, in order, stored and loaded as on the ``sync`` connection; an error reaches
        the caller, after ``failed()`` was called.
        """
        count = 0
        with recorders.opened(self):
            while (recorded := self._pending.take()) is not None:
                try:
                    count += self._run(recorded)
                finally:
                    self._pending.ended(recorded)
        return count

    def _run(self, recorded: Recorded) -> int:
        chain = next((each for each in self.chains if each.id == recorded.id), None)
        if chain is not None:
            return chain.run()
        run_here(recorded.outgoing, recorded.connection)
        return 1

    # -- asking it -----------------------------------------------------------------------------

    def dispatched(
        self, job: Wanted, where: Where | None = None, **place: Unpack[Place]
    ) -> list[Any]:
        """The recorded jobs of a class (subclasses included) or of a ``@job`` function, in order;
        those only for which ``where(job)`` is true, and those only that were for the `queue` and
        the `connection`, `delay` seconds later.
        """
        return [recorded.job for recorded in self._matching(job, where, place)]

    def assert_dispatched(
        self,
        job: Wanted,
        times: int | None = None,
        where: Where | None = None,
        **place: Unpack[Place],
    ) -> None:
        """Fail unless `job` was dispatched: exactly `times` times, or at least once. `where`,
        `queue`, `connection` and `delay` are as in `dispatched`.
        """
        __tracebackhide__ = True
        found = self._matching(job, where, place)
        shown = _named(job, where, place)
        if times is None and not found:
            raise AssertionError(f"{shown} was not dispatched.\n{self._nearest(job, found)}")
        if times is not None and len(found) != times:
            raise AssertionError(
                f"{shown} was dispatched {times_in_words(len(found))}, not "
                f"{times_in_words(times)}.\n"
                f"{self._nearest(job, found)}"
            )

    def assert_not_dispatched(
        self, job: Wanted, where: Where | None = None, **place: Unpack[Place]
    ) -> None:
        """Fail if `job` was dispatched, as `dispatched` says."""
        __tracebackhide__ = True
        found = self._matching(job, where, place)
        if found:
            raise AssertionError(
                f"{_named(job, where, place)} was dispatched {times_in_words(len(found))}.\n"
                f"{self._nearest(job, found)}"
            )

    def assert_nothing_dispatched(self) -> None:
        """Fail if any job was dispatched."""
        __tracebackhide__ = True
        if self.recorded:
            jobs = "1 job was" if len(self.recorded) == 1 else f"{len(self.recorded)} jobs were"
            lines = nearest("", [], [], self.recorded)
            raise AssertionError(f"{jobs} dispatched.\n{lines}")

    def assert_chained(self, steps: Sequence[Wanted | Job | Sequence[Wanted | Job]]) -> None:
        """Fail unless a chain of exactly these steps was dispatched: jobs, or their classes or
        functions; for a batch a list of such.
        """
        __tracebackhide__ = True
        if not any(each.fits(steps) for each in self.chains):
            wanted = " → ".join(_step(each) for each in steps)
            raise AssertionError(
                f"The chain {wanted} was not dispatched.\n{shown('chain', self.chains, wanted)}"
            )

    def assert_not_chained(self) -> None:
        """Fail if a chain was dispatched."""
        __tracebackhide__ = True
        if self.chains:
            raise AssertionError(shown("chain", self.chains))

    def assert_batched(
        self, count: int | None = None, name: str | None = None, where: Where | None = None
    ) -> None:
        """Fail unless a batch called `name` was dispatched with `count` members for which
        ``where(job)`` is true, or at least one; what is not given may be anything.
        """
        __tracebackhide__ = True
        for batch in self.batches:
            jobs = recorded_in(batch.members)
            fits = [each for each in jobs if where is None or where(each.job)]
            if name in (None, batch.name) and (fits if count is None else len(fits) == count):
                return
        wanted = f' called "{name}"' if name is not None else ""
        members = "" if count is None else f" with {count} members"
        that = "" if where is None else ", where where= holds,"
        near = f'"{name or ""}" of {count or ""}'
        raise AssertionError(
            f"No batch{wanted}{members}{that} was dispatched.\n{shown('batch', self.batches, near)}"
        )

    def _of(self, job: Wanted) -> Iterator[Recorded]:
        wanted = _class_of(job)
        return (recorded for recorded in self.recorded if isinstance(recorded.job, wanted))

    def _matching(self, job: Wanted, where: Where | None, place: Place) -> list[Recorded]:
        return [
            each
            for each in self._of(job)
            if (where is None or where(each.job))
            and all(getattr(each, name) == wanted for name, wanted in _given(place))
        ]

    def _nearest(self, job: Wanted, matching: Sequence[Recorded]) -> str:
        return nearest(_class_of(job).__name__, matching, list(self._of(job)), self.recorded)

    def __repr__(self) -> str:
        return f"<FakeQueue: {len(self.recorded)} recorded>"


@overload
def fake_queue(*, only: Iterable[Wanted] = (), except_: Iterable[Wanted] = ()) -> FakeQueue: ...
@overload
def fake_queue(target: Decorated) -> Decorated: ...
def fake_queue(
    target: Any = None, *, only: Iterable[Wanted] = (), except_: Iterable[Wanted] = ()
) -> Any:
    """Record jobs instead of running them: those of the classes or functions in `only`, or all but
    those in `except_`. The others are dispatched as ever.

        with fake_queue() as queue:
            register(user)
        queue.assert_dispatched(send_registration_mail, where=lambda job: job.user == user)

    Also a decorator, which gives the fake to the argument that a call lacks, and a pytest fixture.
    """
    fake = FakeQueue(only, except_)
    return fake if target is None else fake(target)


def _class_of(job: object) -> type[Job]:
    own = getattr(job, "job_class", job)
    if isinstance(own, type) and issubclass(own, Job):
        return own
    if isinstance(job, Job):
        name = type(job).__name__
        raise TypeError(f"{job!r} is one job: give its class, {name}, and say more with where=.")
    raise TypeError(f"{job!r:.200} is neither a job class nor a function decorated with @job.")


def _step(job: Wanted | Job | Sequence[Wanted | Job]) -> str:
    if isinstance(job, (list, tuple)):
        return f"a batch of {', '.join(map(_step, job))}"
    return repr(job) if isinstance(job, Job) else _class_of(job).__name__


def _named(job: Wanted, where: Where | None, place: Place) -> str:
    name = _class_of(job).__name__
    said = "".join(f" {key}={value!r}" for key, value in _given(place))
    return f"{name}{said}" if where is None else f"{name}{said}, where where= holds,"


def _given(place: Place) -> list[tuple[str, object]]:
    """Return what is named in `place`; a delay in seconds."""
    if unknown := sorted(place.keys() - Place.__annotations__.keys()):
        raise TypeError(f"An assertion of fake_queue() does not take {unknown[0]!r}.")
    given: dict[str, object] = {k: v for k, v in place.items() if v is not None}
    if isinstance(delay := place.get("delay"), timedelta):
        given["delay"] = delay.total_seconds()
    return list(given.items())
