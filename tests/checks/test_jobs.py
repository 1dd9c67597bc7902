"""What the checks say about the project's jobs."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

import pytest

from djqueue import Job
from djqueue.jobs import discovery, registry
from djqueue.jobs.definition.options import Options


@dataclass
class Spec:
    name: str
    job_class: type
    aliases: tuple[str, ...] = ()
    options: Options = field(default_factory=Options)

    def warm_up(self) -> None: ...


@pytest.fixture
def failure(monkeypatch):
    try:
        exec(compile("import nothing_of_that_name", "/project/shop/jobs.py", "exec"))
    except ImportError as error:
        failures = [discovery.ImportFailure("shop.jobs", error)]
    monkeypatch.setattr(discovery, "_failures", failures)


@pytest.mark.usefixtures("failure")
def test_a_module_that_cannot_be_imported(messages):
    [message] = messages()
    assert message.id == "djqueue.E010"
    assert "shop.jobs cannot be imported" in message.msg
    assert "nothing_of_that_name" in message.msg
    assert "/project/shop/jobs.py:1" in message.hint


@pytest.mark.usefixtures("failure")
def test_it_does_not_keep_migrate_from_running(messages, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["manage.py", "migrate", "shop"])
    [message] = messages()
    assert message.id == "djqueue.W010"
    assert not message.is_serious()


def test_two_jobs_of_one_name_are_told_with_both_places(messages):
    class Send: ...

    class SendAgain: ...

    registry.register(Spec("tests.check.Send", Send))
    registry.register(Spec("tests.check.Send", SendAgain))
    try:
        [message] = messages()
    finally:
        registry.unregister("tests.check.Send")
    assert message.id == "djqueue.E009"
    assert message.msg.count(__file__) == 2
    assert "Send in" in message.msg
    assert "SendAgain in" in message.msg


def test_an_annotation_that_names_nothing(messages):
    class Typed(Job, name="tests.check.Typed"):
        order: Nowhere  # noqa: F821

        def handle(self) -> None: ...

    try:
        [message] = messages()
    finally:
        registry.unregister("tests.check.Typed")
    assert message.id == "djqueue.W022"
    assert message.msg.startswith('tests.check.Typed: argument "order" is annotated "Nowhere"')
    assert message.hint.startswith("Import it outside `if TYPE_CHECKING:`")
