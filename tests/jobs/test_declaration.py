"""A job class is a dataclass; what cannot work is refused when it is made."""

from __future__ import annotations

import types
from abc import abstractmethod
from dataclasses import InitVar
from typing import ClassVar

import pytest

from djqueue import Inject, Job, field
from djqueue.errors import InvalidJob, QueueError
from djqueue.jobs import registry
from tests.app.models import Author, Book, Note

OPTIONS = ["queue", "connection", "tries", "timeout", "backoff", "delay", "priority"]
METHODS = [
    *("handle", "failed", "using", "dispatch", "adispatch", "dispatch_sync", "bind", "job"),
    *("backoff", "retry_until", "middleware", "unique_id", "tags", "display_name"),
]


def declare(body="", keywords='name="test.X"', **names):
    """Make ``class X(Job, …)`` of source text, as a module would."""
    lines = "\n    ".join(body.splitlines() or ["pass"])
    source = f"class X(Job, {keywords}):\n    {lines}"
    if "def handle" not in body:
        source += "\n    def handle(self): pass"
    namespace = {"Job": Job, "field": field, "Inject": Inject, "__name__": __name__, **names}
    exec(source, namespace)
    return namespace["X"]


def refusal(body="", keywords='name="test.X"', **names):
    with pytest.raises(InvalidJob) as caught:
        declare(body, keywords, **names)
    assert isinstance(caught.value, (QueueError, TypeError))
    with pytest.raises(QueueError):
        registry.find("test.X")
    return str(caught.value)


# -- a dataclass ------------------------------------------------------------------------------


def test_fields_are_arguments_by_position_and_by_name():
    cls = declare("a: int\nb: str = 'x'\nc: list = field(default_factory=list)")
    assert (cls(1).a, cls(1).b, cls(1).c) == (1, "x", [])
    assert cls(1, b="y", c=[2]).c == [2]


def test_a_wrong_or_missing_argument_is_a_type_error_at_the_call():
    cls = declare("a: int")
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'a'"):
        cls()
    with pytest.raises(TypeError, match="unexpected keyword argument 'z'"):
        cls(1, z=2)


def test_equal_arguments_make_equal_jobs_that_a_set_keeps_apart():
    cls = declare("a: list")
    assert cls([1]) == cls([1])
    assert cls([1]) != cls([2])
    assert len({cls([1]), cls([1])}) == 2


def test_a_hash_of_its_own_is_kept():
    cls = declare("a: int\ndef __hash__(self): return 7")
    assert hash(cls(1)) == 7


def test_repr_asks_neither_the_database_nor_the_model(django_assert_num_queries, db):
    book = Book.objects.create(title="x", author=Author.objects.create(name="y"))
    book = Book.objects.get(pk=book.pk)
    cls = declare("book: Book\nbooks: object\nmore: object", Book=Book)
    job = cls(book, Book.objects.all(), {"one": [book]})
    with django_assert_num_queries(0):
        shown = repr(job)
    assert f"book=<app.Book {book.pk}>" in shown
    assert "books=<QuerySet of app.Book>" in shown
    assert f"more={{'one': [<app.Book {book.pk}>]}}" in shown


def test_repr_does_not_call_str_of_a_model():
    class Broken(Note):
        class Meta:
            proxy = True
            app_label = "app"

        def __str__(self):
            raise AssertionError("str() was called")

    try:
        assert "<app.Broken 3>" in repr(declare("note: object")(Broken(pk=3)))
    finally:
        from django.apps import apps

        del apps.all_models["app"]["broken"]
        apps.clear_cache()


def test_repr_is_short_however_long_the_arguments():
    assert len(repr(declare("text: str")("x" * 100_000))) < 200


def test_post_init_runs_again_when_a_worker_makes_the_job():
    cls = declare(
        "a: int\nb: int = field(init=False)\ndef __post_init__(self): self.b = self.a + 1"
    )
    assert cls._spec.encode(cls(1)) == {"a": 1}
    assert cls._spec.load({"a": 4}).b == 5


def test_class_variables_are_no_arguments():
    cls = declare("a: int\nlimit: ClassVar[int] = 3", ClassVar=ClassVar)
    assert cls._spec.encode(cls(1)) == {"a": 1}


# -- refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize("option", [o for o in OPTIONS if o != "backoff"] + ["atomic", "name"])
def test_an_option_in_the_body_is_refused_with_the_spelling(option):
    message = refusal(f"{option} = 3", "")
    assert "Options are class keywords" in message
    assert f"class X(Job, {option}=3)" in message


def test_a_list_of_backoffs_and_tags_in_the_body_are_refused():
    assert "class X(Job, backoff=[1, 2])" in refusal("backoff = [1, 2]")
    assert "class X(Job, tags=['x'])" in refusal("tags = ['x']")


def test_an_annotated_class_variable_is_refused_as_an_option():
    assert "class keywords" in refusal("tries: ClassVar[int] = 3", ClassVar=ClassVar)


def test_a_method_called_like_an_option_that_has_none_is_refused():
    assert "class X(Job, tries=…)" in refusal("def tries(self): return 3")


@pytest.mark.parametrize("name", OPTIONS)
def test_a_field_called_like_an_option_is_refused(name):
    message = refusal(f"{name}: int")
    assert f"class X(Job, {name}=…)" in message
    assert f"job_{name}" in message


@pytest.mark.parametrize("name", METHODS)
def test_a_field_called_like_a_name_of_jobs_own_is_refused(name):
    assert f"job_{name}" in refusal(f"a: int\n{name}: int")


@pytest.mark.parametrize("name", ["apply_async", "_spec", "_using"])
def test_other_attributes_of_job_are_reserved_too(name):
    assert "a name that Job reserves" in refusal(f"{name}: int")


def test_a_method_that_nothing_would_call_is_refused():
    assert "is for unique jobs" in refusal("def unique_id(self): return ()")


def test_name_is_a_legal_field():
    cls = declare("name: str = 'x'")
    assert cls("y").name == "y"
    assert cls._spec.name == "test.X"


@pytest.mark.parametrize(("value", "factory"), [("[]", "list"), ("{}", "dict"), ("set()", "set")])
def test_a_mutable_default_is_refused_with_the_spelling(value, factory):
    assert f"field(default_factory={factory})" in refusal(f"rows: object = {value}")


def test_a_field_without_default_behind_one_with_is_refused_with_the_remedy():
    message = refusal("a: int = 1\nb: int")
    assert "'b'" in message
    assert "field(kw_only=True)" in message


def test_the_same_over_a_base_class():
    base = declare("a: int = 1")
    with pytest.raises(InvalidJob, match="kw_only"):
        types.new_class("Y", (base,), {"name": "test.Y"}, lambda ns: ns.update(_annotated("b")))
    cls = types.new_class(
        "Y",
        (base,),
        {"name": "test.Y"},
        lambda ns: ns.update(_annotated("b"), b=field(kw_only=True)),
    )
    assert cls(b=2).a == 1


def _annotated(name):
    return {"__annotations__": {name: int}, "__module__": __name__}


def test_an_init_of_its_own_is_refused():
    assert "__post_init__" in refusal("def __init__(self, a): self.a = a")


def test_an_init_var_is_refused():
    assert "a is an InitVar" in refusal("a: InitVar[int]", InitVar=InitVar)


def test_a_handle_with_parameters_that_nothing_fills_is_refused():
    message = refusal("def handle(self, gateway): pass")
    assert "gateway=Inject(…)" in message


def test_a_handle_that_yields_is_refused():
    assert "contains yield" in refusal("def handle(self): yield")
    assert "contains yield" in refusal("async def handle(self): yield")


def test_a_handle_that_is_no_method_is_refused():
    assert "has to be a method" in refusal("handle = print\ndef handled(self): pass  # def handle")
    assert "has to be a method" in refusal("@staticmethod\ndef handle(): pass")


def test_atomic_is_refused_for_a_coroutine():
    message = refusal("async def handle(self): pass", 'name="test.X", atomic=True')
    assert "atomic=True cannot work with async def handle()" in message
    assert declare("def handle(self): pass", 'name="test.X", atomic="other"')


# -- names ------------------------------------------------------------------------------------


def test_outside_an_installed_app_a_name_is_required():
    message = refusal(keywords="")
    assert "tests.jobs.test_declaration" in message
    assert 'name="project.X"' in message


def test_a_job_in_an_app_is_called_by_its_label_and_class():
    cls = declare(keywords="", __name__="tests.app.jobs")
    assert cls._spec.name == "app.X"
    assert registry.find("app.X") is cls._spec


def test_aliases_find_the_job_too():
    cls = declare(keywords='name="test.X", aliases=["old.X"]')
    assert registry.find("old.X") is cls._spec


# -- inheritance ------------------------------------------------------------------------------


def test_a_class_without_handle_is_abstract_and_needs_no_name():
    class Base(Job, tries=4):
        a: int

    assert Base._spec is None
    with pytest.raises(TypeError, match="are not jobs"):
        Base(1).dispatch()


def test_a_class_whose_handle_is_abstract_is_abstract():
    class Base(Job):
        @abstractmethod
        def handle(self):
            """To be written."""

    assert Base._spec is None


def test_options_and_fields_are_inherited_but_not_the_name():
    class Base(Job, name="test.Base", aliases=["test.Old"], tries=4, queue="slow"):
        a: int

        def handle(self):
            return self.a

    class Child(Base, name="test.Child", queue="fast"):
        b: int = 2

    options = Child._spec.options
    assert (options.tries, options.queue, options.name, options.aliases) == (
        4,
        "fast",
        "test.Child",
        (),
    )
    assert Child(1).handle() == 1
    assert registry.find("test.Old") is Base._spec
    with pytest.raises(InvalidJob, match="belongs to no app"):

        class Nameless(Base):
            pass


def test_none_gives_an_inherited_option_back():
    class Base(Job, tries=4, max_interruptions=0):
        pass

    class Child(Base, name="test.Child", tries=None, max_interruptions=None):
        def handle(self):
            pass

    assert Child._spec.options.tries is None
    assert Child._spec.options.max_interruptions == 3


# -- wrong turns ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["delay", "apply_async"])
def test_celerys_names_lead_to_dispatch(name):
    cls = declare("a: int")
    for target in (cls, cls(1)):
        with pytest.raises(AttributeError, match=r"dispatch\(\)"):
            getattr(target, name)
