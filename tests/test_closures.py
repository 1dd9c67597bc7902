"""Closures: signed, refused where anything is wrong, and never read before."""

import base64
import os
import pickle
import random
import sys
import threading
from types import SimpleNamespace

import pytest
from django.conf import settings as project_settings

from djqueue import batch, chain, dispatch, dispatch_sync
from djqueue.checks.setting import check_setting
from djqueue.errors import ClosureRefused, InvalidJob, MissingPackage, NotSerializable
from djqueue.jobs.closures import ClosureJob, as_job
from djqueue.models import FailedJob, JobResult, QueuedJob
from djqueue.testing import work
from tests.app.models import Note

KEYS = ["a" * 43, "b" * 43]
heard = []


@pytest.fixture(autouse=True)
def keys(settings):
    heard.clear()
    settings.DJQUEUE = {"CLOSURE_KEYS": KEYS}
    return settings


def hear(value):
    """What the closures of these tests call; they find it by its name."""
    heard.append(value)
    return value


@pytest.mark.django_db
def test_a_lambda_runs_with_what_is_around_it():
    number = 7
    dispatch(lambda: hear(number * 6))
    row = QueuedJob.objects.get()
    assert row.name == "djqueue.closure"
    assert "closure (test_closures.py:" in row.payload
    work()
    assert [int(each) for each in heard_by_name()] == [42]


def heard_by_name():
    """What this module has heard, under the name by which it is imported."""
    return sys.modules["tests.test_closures"].heard


@pytest.mark.django_db
def test_a_local_function_takes_models_by_reference():
    note = Note.objects.create(text="first")
    notes = Note.objects.all()

    def tell():
        hear((note.text, [each.text for each in notes]))

    dispatch(tell)
    Note.objects.update(text="second")
    assert "first" not in QueuedJob.objects.get().payload
    work()
    assert heard_by_name() == [("second", ["second"])]


@pytest.mark.django_db
def test_a_coroutine_function_is_awaited():
    async def tell():
        return hear("async")

    assert dispatch_sync(tell) == "async"
    assert heard_by_name() == ["async"]


@pytest.mark.django_db
def test_closures_are_steps_and_members():
    chain([lambda: hear(1), lambda: hear(2)]).dispatch()
    batch([lambda: hear(3)], on_finish=None).dispatch()
    work()
    assert sorted(heard_by_name()) == [1, 2, 3]


def test_a_function_of_a_module_is_none():
    with pytest.raises(TypeError, match="Decorate it with @job"):
        dispatch(hear)


def test_without_keys_they_are_refused(settings):
    job = as_job(lambda: hear(1))
    settings.DJQUEUE = {}
    with pytest.raises(InvalidJob, match="CLOSURE_KEYS"):
        dispatch(lambda: hear(1))
    with pytest.raises(ClosureRefused, match="CLOSURE_KEYS"):
        job.handle()
    assert heard_by_name() == []


def test_what_takes_arguments_is_refused():
    with pytest.raises(InvalidJob, match="nothing fills 'number'"):
        dispatch(lambda number: hear(number))
    as_job(lambda number=3, *rest, **more: hear(number)).handle()
    assert heard_by_name() == [3]


def test_what_cannot_travel_is_refused():
    lock = threading.Lock()
    with pytest.raises(NotSerializable, match=r"closure \(test_closures.py:\d+\) holds what"):
        dispatch(lambda: lock)
    note = Note(text="first")
    with pytest.raises(NotSerializable, match="is not saved"):
        dispatch(lambda: note)


def test_settings_stay_out_of_the_queue(settings):
    settings.SECRET_KEY = "very-secret-key"
    for function in (
        lambda: hear(project_settings.SECRET_KEY),
        lambda holder=project_settings._wrapped: hear(holder.SECRET_KEY),
    ):
        job = as_job(function)
        assert b"very-secret-key" not in base64.b64decode(job.code)
        job.handle()
    assert heard_by_name() == ["very-secret-key", "very-secret-key"]


def test_requests_and_the_environment_are_refused(rf):
    request = rf.get("/")
    with pytest.raises(NotSerializable, match="uses a request, which would be copied"):
        dispatch(lambda: hear(request.path))
    environment = os.environ
    with pytest.raises(NotSerializable, match=r"uses os\.environ, which would be copied"):
        dispatch(lambda: hear(environment["HOME"]))


def test_keys_are_rotated(settings):
    job = as_job(lambda: hear(1))
    settings.DJQUEUE = {"CLOSURE_KEYS": ["c" * 43, KEYS[0]]}
    job.handle()
    newer = as_job(lambda: hear(2))
    settings.DJQUEUE = {"CLOSURE_KEYS": ["c" * 43]}
    newer.handle()
    with pytest.raises(ClosureRefused, match="None of the keys has signed"):
        job.handle()
    assert heard_by_name() == [1, 2]


def test_another_python_is_refused(monkeypatch):
    monkeypatch.setattr("djqueue.jobs.closures._PYTHON", "3.9")
    job = as_job(lambda: hear(1))
    monkeypatch.undo()
    with pytest.raises(ClosureRefused, match=r"was written by Python 3\.9"):
        job.handle()


class Bomb:
    """Unpickling it is heard."""

    def __reduce__(self):
        return hear, ("unpickled",)


def test_what_is_not_signed_is_not_read():
    job = as_job(lambda: hear("ran"))
    job.code = base64.b64encode(pickle.dumps(Bomb())).decode()
    with pytest.raises(ClosureRefused, match="It was not executed"):
        job.handle()
    assert heard_by_name() == []


def test_ten_thousand_alterations_are_refused(monkeypatch):
    def never(*_):
        raise AssertionError("it was unpickled")

    monkeypatch.setattr("djqueue.jobs.closures._Unpickler", never)
    true = as_job(lambda: hear("ran"))
    parts = {name: getattr(true, name) for name in ("code", "python", "place", "signature")}
    chance = random.Random(11)
    for _ in range(10_000):
        name = chance.choice(list(parts))
        text = parts[name]
        at = chance.randrange(len(text))
        altered = chance.choice(
            [
                text[:at],
                text[:at] + chance.choice("Aa0=é\n") + text[at:],
                text[:at] + chance.choice("Bb1+ü ") + text[at + 1 :],
                text[at:] + text[:at],
                "",
            ]
        )
        if altered == text:
            continue
        with pytest.raises(ClosureRefused):
            ClosureJob(**{**parts, name: altered}).handle()
    moved = {**parts, "python": parts["python"] + "\n" + parts["place"], "place": ""}
    with pytest.raises(ClosureRefused):
        ClosureJob(**moved).handle()


@pytest.mark.django_db
def test_a_refused_one_fails_at_once_and_is_kept(settings):
    dispatch(lambda: hear(1))
    settings.DJQUEUE = {"CLOSURE_KEYS": ["c" * 43]}
    work()
    row = FailedJob.objects.get()
    assert row.exception_class.endswith("ClosureRefused")
    assert heard_by_name() == []
    assert not JobResult.objects.exists()


def test_checks_know_bad_keys(settings):
    settings.SECRET_KEY = "s" * 50
    settings.DJQUEUE = {"CLOSURE_KEYS": [settings.SECRET_KEY]}
    assert "djqueue.E040" in {each.id for each in check_setting()}
    settings.DJQUEUE = {"CLOSURE_KEYS": ["short-and-secret"]}
    messages = str(check_setting())
    assert "CLOSURE_KEYS" in messages
    assert "short-and-secret" not in messages


def test_the_package_is_named_where_it_is_missing(monkeypatch):
    job = as_job(lambda: hear(1))
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.raises(MissingPackage, match=r"djqueue\[closures\]"):
        as_job(lambda: SimpleNamespace())
    with pytest.raises(MissingPackage, match=r"djqueue\[closures\]"):
        job.handle()


def test_a_generator_is_refused():
    def steps():
        yield hear(1)

    with pytest.raises(InvalidJob, match=r"closure \(test_closures.py:\d+\) contains yield"):
        dispatch(steps)


@pytest.mark.parametrize("name", ["code", "python", "place", "signature"])
@pytest.mark.parametrize("value", [None, 3, b"abc", ["abc"], "\ud800"])
def test_what_is_no_text_is_refused(name, value):
    job = as_job(lambda: hear(1))
    setattr(job, name, value)
    with pytest.raises(ClosureRefused):
        job.handle()
    assert heard_by_name() == []


def test_a_forged_place_is_shown_on_one_short_line():
    job = as_job(lambda: hear(1))
    job.place = "views.py:1)\nDONE\x1b[2J" + "x" * 1000
    with pytest.raises(ClosureRefused) as refused:
        job.handle()
    assert "\n" not in str(refused.value)
    assert "\x1b" not in str(refused.value)
    assert len(job.display_name()) < 200
