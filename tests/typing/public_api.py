"""What type checkers know of the public interface. Checked by mypy and pyright, never run.

Every line with an ignore comment has to be an error: both checkers tell of an ignore that is not
needed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.db.models.signals import post_save
from typing_extensions import assert_type

from djqueue import (
    CurrentJob,
    DispatchedJob,
    Inject,
    Job,
    batch,
    chain,
    context,
    current_job,
    dispatch,
    dispatch_many,
    dispatch_sync,
    exponential,
    field,
    find,
    job,
    queue_command,
    queued_receiver,
    queues,
)
from djqueue.drivers.base import QueueCounts, StoredJob
from djqueue.events import Event, Listener, event, listen
from djqueue.limits import LimitReached, define, funnel, throttle
from djqueue.middleware import RateLimited, Release, Skip, ThrottlesExceptions, WithoutOverlapping
from djqueue.models import JobBatch
from djqueue.results.asking import JobStatus, Progress
from djqueue.testing import run_middleware


class Gateway:
    """Something to inject."""


def get_gateway() -> Gateway:
    return Gateway()


@contextmanager
def open_gateway() -> Generator[Gateway, None, None]:
    yield Gateway()


def yield_gateway() -> Iterator[Gateway]:
    yield Gateway()


# -- classes ----------------------------------------------------------------------------------


class Invoice(Job, queue="pdf", tries=3, backoff=[10, 60], timeout=120):
    number: int
    copies: int = 1
    lines: list[str] = field(default_factory=list[str])

    def handle(self, gateway: Gateway = Inject(get_gateway)) -> str:
        assert_type(self.job, CurrentJob)
        return str(gateway)

    def failed(self, error: BaseException) -> None: ...

    def backoff(self) -> list[int]:
        return [self.copies]


class Later(Job):
    async def handle(
        self,
        first: Gateway = Inject(open_gateway),
        second: Gateway = Inject(yield_gateway),
    ) -> bytes:
        return b""


class Child(Invoice, tries=None):
    paid: bool = False


assert_type(Invoice(1, copies=2), Invoice)
assert_type(Invoice(1).using(queue="high", delay=timedelta(hours=1)), Invoice)
assert_type(Invoice(1).dispatch(), DispatchedJob[str])
assert_type(Invoice(1).dispatch().result(), str)
assert_type(Invoice(1).dispatch_sync(), str)
assert_type(Later().dispatch(), DispatchedJob[bytes])
assert_type(Later().dispatch_sync(), bytes)
assert_type(Child(1, paid=True).dispatch_sync(), str)
assert_type(dispatch(Invoice(1)), DispatchedJob[str])
assert_type(dispatch(Later()), DispatchedJob[bytes])
assert_type(dispatch_sync(Invoice(1)), str)
assert_type(dispatch_sync(Later()), bytes)


Invoice("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Invoice()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Invoice(1, colour=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Invoice(1).number = "x"  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
Invoice(1).using(queue=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Invoice(1).using(atomic=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Invoice(1).delay()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
dispatch(Invoice)  # type: ignore[arg-type]


class WrongValue(Job, tries="3"):  # type: ignore[arg-type]  # pyright: ignore[reportGeneralTypeIssues, reportArgumentType]
    pass


class WrongOption(Job, trys=3):  # type: ignore[call-arg]  # pyright: ignore[reportGeneralTypeIssues, reportCallIssue]
    pass


async def in_a_view() -> None:
    assert_type(await Invoice(1).adispatch(), DispatchedJob[str])
    assert_type(await Later().adispatch(), DispatchedJob[bytes])
    assert_type(await mail.adispatch("ann"), DispatchedJob[bool])
    assert_type(await fetch.adispatch(1), DispatchedJob[float])
    assert_type(await fetch(1), float)


# -- functions --------------------------------------------------------------------------------


@job(queue="mail", tries=5)
def mail(user: str, *, template: str = "welcome", gateway: Gateway = Inject(get_gateway)) -> bool:
    return bool(gateway)


@job
async def fetch(number: int) -> float:
    return float(number)


@job
def plain() -> None: ...


assert_type(mail.dispatch("ann", template="vip"), DispatchedJob[bool])
assert_type(mail.dispatch("ann").result(), bool)
assert_type(mail.dispatch_sync("ann"), bool)
assert_type(mail("ann"), bool)
assert_type(mail.bind("ann"), Job)
assert_type(mail.using(delay=60).dispatch_sync("ann"), bool)
assert_type(fetch.dispatch(1), DispatchedJob[float])
assert_type(fetch.dispatch_sync(1), float)
assert_type(dispatch(mail.bind("ann")), DispatchedJob[Any])
assert_type(queue_command("check", "shop", deploy=True).dispatch(), DispatchedJob[dict[str, Any]])
plain.dispatch()

mail.dispatch(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
mail.dispatch()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
mail.dispatch("ann", colour=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
mail.bind("ann", 2)  # type: ignore[call-arg, arg-type]  # pyright: ignore[reportCallIssue]
mail.using(tries="3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
plain.dispatch(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


@job(trys=3)  # type: ignore[call-overload, untyped-decorator]  # pyright: ignore[reportCallIssue, reportUntypedFunctionDecorator]
def wrong_option() -> None: ...


# -- the rest ---------------------------------------------------------------------------------

assert_type(dispatch_many(Invoice(number) for number in range(3)), int)
assert_type(dispatch_many([Invoice(1), mail.bind("ann")]), int)
assert_type(find("id", connection="redis"), DispatchedJob[Any])
assert_type(find("id").status, JobStatus)
assert_type(find("id").progress, Progress | None)
assert_type(find("id").status == "done", bool)
assert_type(find("id").created, "bool | None")
assert_type(find("id").cancel(), bool)
assert_type(current_job(), CurrentJob)
assert_type(current_job(None), "CurrentJob | None")
assert_type(queues["redis"].counts("mail"), QueueCounts)
assert_type(queues["redis"].peek("mail", state="delayed"), list[StoredJob])
dispatch_many([1])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]


# -- chains and batches -----------------------------------------------------------------------

steps = chain([Invoice(1), mail.bind("ann"), plain.bind()])
assert_type(
    steps.on_failure(plain.bind()).using(queue="mail", delay=60).dispatch(), DispatchedJob[Any]
)
rows = batch(
    (mail.bind(name) for name in ("ann", "bob")),
    name="Mails",
    on_finish=plain.bind(),
    allow_failures=plain.bind(),
    options={"week": 34},
)
assert_type(rows.using(queue="mail").dispatch(), JobBatch)
assert_type(rows.dispatch().progress, int)
assert_type(rows.dispatch().add([steps, Invoice(2)]), int)
assert_type(batch([steps]).dispatch().cancel(), bool)

chain([Invoice])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
chain([mail])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
chain(Invoice(1))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
chain([Invoice(1)]).on_failure(plain)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
chain([Invoice(1)]).using(colour=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
batch([mail])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
batch([Invoice(1)], on_success=plain)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
batch([Invoice(1)], on_done=plain.bind())  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
batch([Invoice(1)], name=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def bound() -> None:
    assert_type(await steps.adispatch(), DispatchedJob[Any])
    assert_type(await rows.adispatch(), JobBatch)
    assert_type(await (await rows.adispatch()).acancel(), bool)


# -- context --------------------------------------------------------------------------------------


def in_context() -> None:
    context.add("campaign", "spring")
    context.add("token", "x", hidden=True)
    with context.scope(hidden={"token": "x"}, campaign="spring", days=[1, 2]):
        assert_type(context.values(), dict[str, Any])
    context.add("a")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    context.scope(hidden=["x"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# -- middleware, limits and retries -----------------------------------------------------------


def audit(job: CurrentJob, next: Callable[[CurrentJob], Any]) -> Any:  # noqa: A002
    return next(job)


async def async_audit(job: CurrentJob, next: Callable[[CurrentJob], Any]) -> Any:  # noqa: A002
    return await next(job)


class Around(
    Job,
    backoff=exponential(base=2, maximum=600, jitter=True),
    jitter=True,
    retry_on=(OSError, KeyError),
    fail_on=PermissionError,
    middleware=[
        audit,
        async_audit,
        RateLimited("mail"),
        WithoutOverlapping(lambda job: job.id),
        ThrottlesExceptions(5, timedelta(minutes=1), only=(OSError,)),
        Skip.when(lambda job: job.attempt > 3),
        Release.when(True, delay=60),
    ],
):
    def handle(self) -> int:
        return 1


@job(unique=True, unique_for=3600, unique_until_start=True, encrypted=True)
def once(number: int) -> str:
    return str(number)


assert_type(once.dispatch(1).created, "bool | None")
assert_type(once.dispatch(1).existing, "str | None")


class Once(Job, unique=True, name="typing.Once"):
    number: int

    def unique_id(self) -> int:
        return self.number

    def handle(self) -> None: ...


@job(unique="yes")  # type: ignore[call-overload, untyped-decorator]  # pyright: ignore[reportArgumentType]
def not_once() -> None: ...


@job(backoff=exponential(), retry_on=OSError, middleware=[audit])
def around() -> int:
    return 1


Around().using(backoff=exponential(30)).dispatch()
define("mail", allow=10, every=timedelta(minutes=1), by=lambda job: job.queue)
assert_type(run_middleware(audit, Around()).released, float | None)

with throttle("api", 5, every=1, block=2) as used:
    assert_type(used, throttle)
with funnel("reports", limit=3):
    pass


async def limited() -> float:
    try:
        async with throttle("api", 5, 1), funnel("reports", 3):
            return 0.0
    except LimitReached as reached:
        return reached.retry_in


class WrongRetry(Job, retry_on="OSError"):  # type: ignore[arg-type]  # pyright: ignore[reportGeneralTypeIssues, reportArgumentType]
    pass


class WrongFail(Job, fail_on=(OSError(),)):  # type: ignore[arg-type]  # pyright: ignore[reportGeneralTypeIssues, reportArgumentType]
    pass


class WrongMiddleware(Job, middleware=[RateLimited]):  # type: ignore[list-item]  # pyright: ignore[reportGeneralTypeIssues, reportArgumentType]
    pass


exponential("2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
throttle("api")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
throttle("api", 5, every="1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
funnel("reports", limit="3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
RateLimited(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Around().using(retry_on=OSError)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


# -- events -----------------------------------------------------------------------------------


class Shipped(Event):
    order: int
    via: str = "post"


class Lost(Event):
    order: int


class Returned(Event, name="shop.Returned", frozen=True, kw_only=True):
    order: int


Returned(order=1)
Returned(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Shipped(1, via="sea")
Shipped()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


@listen(Shipped, queued=True, queue="mail")
def hears(happened: Shipped) -> str:
    return happened.via


@listen(Shipped, Lost)
def hears_both(happened: Shipped | Lost) -> None: ...


@listen("shop.*")
def hears_all(happened: Event) -> None: ...


@listen(Shipped)
async def hears_async(happened: Shipped, gateway: Gateway = Inject(get_gateway)) -> None: ...


@listen(Lost)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
def hears_another(happened: Shipped) -> None: ...


listen(Shipped, colour="red")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]


assert_type(hears(Shipped(1)), str)
assert_type(event(Shipped(1)), list[Any])
event(Shipped)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


class Noting(Listener, event=Shipped, queue="mail", tries=3):
    def handle(self, event: Shipped) -> None: ...


@queued_receiver(post_save, sender=JobBatch, queue="mail")
def batch_saved(sender: type, instance: JobBatch, **kwargs: object) -> None: ...


assert_type(batch_saved(JobBatch, JobBatch()), None)
queued_receiver("post_save")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
