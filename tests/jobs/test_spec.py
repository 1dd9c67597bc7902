"""`JobSpec`: from a job to stored arguments and back."""

from __future__ import annotations

from collections.abc import Callable  # noqa: F401 - in annotations that are text
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Union  # noqa: F401 - as above

import pytest

from djqueue import Job
from djqueue.errors import InvalidJob, InvalidPayload, NotSerializable
from djqueue.jobs.definition.spec import LONGEST_NAME
from tests.app.models import Author, Note

if TYPE_CHECKING:
    from tests.app.models import Book  # noqa: F401 - known to type checkers only


class Parcel(Job, name="test.jobs.Parcel", tries=2, timeout=9, backoff=3, atomic="other"):
    weight: Decimal
    note: Note | None = None
    author: Author | None = None

    def handle(self) -> Decimal:
        return self.weight * 2

    def failed(self, error):
        seen.append((self.weight, error))


class Computed(Job, name="test.jobs.Computed", backoff=1, tags=["class"], middleware=[len]):
    kind: str = "fine"

    def handle(self):
        pass

    def middleware(self):
        return [*super().middleware(), print]

    def backoff(self):
        return [1, 2] if self.kind == "fine" else -1

    def tags(self):
        return [*super().tags(), self.kind]

    def retry_until(self):
        return 60

    def display_name(self):
        return f"A {self.kind} job" if self.kind != "bad" else 7

    async def failed(self, error):
        seen.append(error)


seen: list[object] = []
Json = Union[int, list["Json"], dict[str, "Json"]]  # noqa: UP007 - `|` takes no text


def typed(annotation):
    """Return a job class whose only argument is annotated with this text."""

    def handle(self): ...

    body = {"__annotations__": {"x": annotation}, "__module__": __name__, "handle": handle}
    return type("Typed", (Job,), body, name="test.jobs.Typed")


def test_arguments_come_back_as_what_they_were(db):
    note = Note.objects.create(text="x")
    loaded = Parcel._spec.load(Parcel._spec.encode(Parcel(Decimal("1.50"), note)))
    assert (loaded.weight, loaded.note, loaded.author) == (Decimal("1.50"), note, None)
    assert type(loaded) is Parcel
    assert Parcel._spec.call(loaded) == 3


def test_limits_are_those_of_the_options():
    limits = Parcel._spec.limits
    assert (limits.tries, limits.timeout, limits.backoff) == (2, 9, (3,))
    assert limits.atomic == "other"


@pytest.mark.parametrize("name", ["Book", "list[Book] | None", "dict[str, tuple[Book, ...]]", "B["])
def test_an_annotation_that_names_nothing_at_run_time_is_refused(name):
    cls = typed(name)
    with pytest.raises(InvalidJob, match=r'Typed: argument "x" is annotated "B.*outside `if TYPE_'):
        cls(None).dispatch()
    with pytest.raises(InvalidJob):
        cls._spec.load({"x": None})


@pytest.mark.parametrize("name", ["Callable[[int], Parcel]", "list[Json]", "list[Any] | None"])
def test_other_annotations_are_not(name):
    cls = typed(name)
    assert cls._spec.warm_up() is None


def test_an_argument_that_cannot_be_stored_is_named():
    with pytest.raises(NotSerializable, match=r'test.jobs.Parcel: argument "note"'):
        Parcel._spec.encode(Parcel(Decimal(1), object()))


def test_arguments_of_other_code_are_refused():
    with pytest.raises(InvalidPayload, match="it lacks weight"):
        Parcel._spec.load({})
    with pytest.raises(InvalidPayload, match="it has size, which the code does not take"):
        Parcel._spec.load({"weight": 1, "size": 2})


def test_methods_beat_options():
    job = Computed()
    spec = Computed._spec
    assert spec.per_instance == {"backoff", "middleware", "tags", "retry_until", "display_name"}
    assert spec.middleware(job) == (len, print)
    assert spec.backoff(job) == (1, 2)
    assert spec.retry_until(job) == 60
    assert spec.tags(job, ("given",)) == ("class", "fine")
    assert spec.display_name(job) == "A fine job"
    assert len(spec.display_name(Computed("x" * 500))) == LONGEST_NAME


def test_a_method_that_gives_nonsense_is_named():
    with pytest.raises(InvalidJob, match=r"test.jobs.Computed.backoff\(\): backoff is -1"):
        Computed._spec.backoff(Computed("bad"))
    with pytest.raises(InvalidJob, match=r"Computed.display_name\(\) returned 7, not a text"):
        Computed._spec.display_name(Computed("bad"))


def test_without_methods_the_options_hold():
    spec, job = Parcel._spec, Parcel(Decimal(1))
    assert not spec.per_instance
    assert (spec.backoff(job), spec.retry_until(job), spec.tags(job, ("a",))) == (
        None,
        None,
        ("a",),
    )
    assert (job.backoff(), job.display_name()) == ((3,), "test.jobs.Parcel")
    assert not spec.display_name(job)
    assert (spec.middleware(job), job.middleware()) == ((), ())
    assert list(job.using(tags=["b"]).tags()) == ["b"]


def test_failed_is_called_whether_it_is_async_or_not():
    seen.clear()
    error = ValueError()
    Parcel._spec.failed(Parcel(Decimal(1)), error)
    Computed._spec.failed(Computed(), error)
    assert seen == [(1, error), error]
