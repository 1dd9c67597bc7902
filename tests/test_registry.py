"""Jobs are found by their stored names."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from types import ModuleType

import pytest

from djqueue.errors import UnknownJob
from djqueue.jobs.definition.options import Options
from djqueue.jobs.registry import Registry


@dataclass
class Spec:
    name: str
    job_class: type
    aliases: tuple[str, ...] = ()
    options: Options = field(default_factory=Options)


@pytest.fixture
def registry():
    return Registry()


@pytest.fixture
def write(monkeypatch):
    """Return a function that makes a class as if it were written in a file."""

    def write(file: str, qualname: str, module: str | None = None) -> type:
        module = module or file.removesuffix(".py").replace("/", ".")
        there = ModuleType(module)
        there.__file__ = file
        monkeypatch.setitem(sys.modules, module, there)
        return type(qualname, (), {"__module__": module, "__qualname__": qualname})

    return write


def test_a_job_is_found_by_its_name_and_by_its_aliases(registry):
    spec = Spec("shop.SendReceipt", Spec, ("old.SendReceipt",))
    registry.register(spec)
    assert registry.find("shop.SendReceipt") is spec
    assert registry.find("old.SendReceipt") is spec


def test_a_name_nobody_knows_is_told_with_the_nearest_one(registry):
    registry.register(Spec("shop.SendReceipt", Spec))
    with pytest.raises(UnknownJob) as caught:
        registry.find("shop.SendReciept")
    assert str(caught.value) == (
        'No running code knows a job called "shop.SendReciept". Did you mean "shop.SendReceipt"? '
        'If it was renamed, add aliases=["shop.SendReciept"] to the job under its new name.'
    )


def test_all_jobs_come_sorted_and_once(registry, write):
    later = Spec("b", write("b.py", "B"))
    first = Spec("a", write("a.py", "A"), ("z",))
    registry.register(later)
    registry.register(first)
    registry.register(Spec("a", write("other.py", "A")))
    assert registry.all() == [first, later]


def test_equal_names_in_two_files_are_kept_as_duplicates_and_the_first_is_found(registry, write):
    first = Spec("send", write("shop/jobs.py", "Send"))
    registry.register(first)
    registry.register(Spec("send", write("blog/jobs.py", "Send")))
    assert registry.find("send") is first
    [duplicate] = registry.duplicates()
    assert duplicate.name == "send"
    assert [str(place) for place in duplicate.origins] == [
        "Send in shop/jobs.py",
        "Send in blog/jobs.py",
    ]


def test_equal_names_in_one_file_are_duplicates_too(registry, write):
    registry.register(Spec("send", write("shop/jobs.py", "Send")))
    registry.register(Spec("send", write("shop/jobs.py", "SendAgain")))
    assert len(registry.duplicates()) == 1


def test_importing_a_file_again_replaces_its_jobs_silently(registry, write):
    registry.register(Spec("send", write("shop/jobs.py", "Send"), ("old",)))
    again = Spec("send", write("shop/jobs.py", "Send", module="project.shop.jobs"))
    registry.register(again)
    assert registry.duplicates() == []
    assert registry.find("send") is again
    with pytest.raises(UnknownJob):
        registry.find("old")


def test_an_alias_that_is_another_jobs_name_is_a_duplicate_and_the_name_wins(registry, write):
    registry.register(Spec("new", write("new.py", "New"), ("send",)))
    named = Spec("send", write("send.py", "Send"))
    registry.register(named)
    assert registry.find("send") is named
    assert [duplicate.name for duplicate in registry.duplicates()] == ["send"]


def test_an_alias_equal_to_its_own_jobs_name_is_no_duplicate(registry):
    registry.register(Spec("send", Spec, ("send",)))
    assert registry.duplicates() == []


def test_unregister_forgets_every_job_of_that_name_and_its_aliases(registry, write):
    registry.register(Spec("send", write("a.py", "Send"), ("old",)))
    registry.register(Spec("send", write("b.py", "Send"), ("older",)))
    registry.unregister("send")
    registry.unregister("never there")
    assert registry.all() == []
    for name in ("send", "old", "older"):
        with pytest.raises(UnknownJob):
            registry.find(name)
