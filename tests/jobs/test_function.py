"""``@job``: a function as a job."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from djqueue import Inject, Job, current_job, job
from djqueue.errors import InvalidJob, InvalidPayload
from djqueue.jobs import registry
from djqueue.jobs.function import FunctionJob, JobFunction


def stored(bound):
    """The job after it went through a queue."""
    spec = bound._spec
    return spec.load(spec.encode(bound))


def run(bound):
    loaded = stored(bound)
    return loaded._spec.call(loaded)


def test_without_options_it_decorates_directly():
    @job(name="test.add")
    def add(a, b=2):
        """Add."""
        return a + b

    assert isinstance(add, JobFunction)
    assert (add.__name__, add.__doc__) == ("add", "Add.")
    assert inspect.signature(add) == inspect.signature(add.__wrapped__)
    assert add(1) == 3
    assert run(add.bind(1, b=5)) == 6
    with pytest.raises(InvalidJob, match="belongs to no app"):
        job(test_without_options_it_decorates_directly)


def test_bound_it_is_a_job_with_its_arguments():
    @job(name="test.mail", tries=5, queue="mail")
    def mail(user, *, template="welcome"):
        pass

    bound = mail.bind("ann", template="vip")
    assert isinstance(bound, Job)
    assert isinstance(bound, mail.job_class)
    assert bound.arguments == {"user": "ann", "template": "vip"}
    assert (bound.user, bound.template) == ("ann", "vip")
    assert bound._spec is registry.find("test.mail")
    assert bound._spec.options.tries == 5
    assert bound == mail.bind("ann", template="vip")
    assert "mail(user='ann', template='vip')" in repr(bound)


def test_what_job_keeps_for_itself_is_free_for_parameters():
    @job(name="test.names")
    def names(queue, tags=(), job=None, self=1, arguments=2, bind=3, delay=4):
        return queue, tags, job, self, arguments, bind, delay

    bound = names.bind("q", tags=["t"], delay=9)
    assert bound.delay == 9
    assert bound.using(queue="high").arguments["queue"] == "q"
    assert run(bound) == ("q", ["t"], None, 1, 2, 3, 9)


def test_every_kind_of_parameter_travels():
    @job(name="test.kinds")
    def kinds(a, /, b, *rest: int, c=3, **more: str):
        return a, b, rest, c, more

    assert run(kinds.bind(1, 2, 3, 4, c=5, d="6")) == (1, 2, (3, 4), 5, {"d": "6"})
    assert run(kinds.bind(1, b=2)) == (1, 2, (), 3, {})


def test_defaults_are_those_of_the_dispatch():
    @job(name="test.defaults")
    def defaults(a, b="then"):
        return a, b

    assert defaults.job_class._spec.encode(defaults.bind(1)) == {"a": 1, "b": "then"}


def test_an_argument_that_is_newer_than_the_payload_has_its_default():
    @job(name="test.newer")
    def newer(a, b="now", *rest, **more):
        return a, b, rest, more

    spec = newer.job_class._spec
    assert spec.call(spec.load({"a": 1})) == (1, "now", (), {})


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, r"greet.dispatch\(\) missing 1 required positional argument: 'user'"),
        ((1, 2, 3), {}, r"takes from 1 to 2 positional arguments but 3 were given"),
        ((1,), {"tone": 2}, "unexpected keyword argument 'tone'"),
        ((1,), {"user": 2}, "multiple values for argument 'user'"),
    ],
)
def test_wrong_arguments_are_the_type_error_of_a_call(args, kwargs, message):
    @job(name="test.greet", connection="null")
    def greet(user, loud=False):
        pass

    for take in (greet.bind, greet.dispatch, greet.dispatch_sync):
        with pytest.raises(TypeError, match=message):
            take(*args, **kwargs)


def test_injected_parameters_are_no_arguments():
    @job(name="test.inject", connection="null")
    def inject(user, gateway=Inject(lambda: "made"), copies=1, **more):
        return user, gateway, copies, more

    assert run(inject.bind("ann", copies=2)) == ("ann", "made", 2, {})
    assert inject("ann") == ("ann", "made", 1, {})
    assert inject("ann", "given", 3) == ("ann", "given", 3, {})
    assert inject("ann", gateway="given") == ("ann", "given", 1, {})
    with pytest.raises(TypeError, match="unexpected keyword argument 'gateway'"):
        inject.dispatch("ann", gateway="given")
    with pytest.raises(TypeError, match="positional argument"):
        inject.dispatch("ann", 2)


def test_an_injected_parameter_that_would_shift_the_others_is_refused():
    with pytest.raises(InvalidJob, match="take an argument's place"):

        @job(name="test.shift")
        def shift(a, gateway=Inject(list), *rest):
            pass


def test_a_coroutine_function_is_called_as_one():
    @job(name="test.later")
    async def later(a, made=Inject(lambda: 2)):
        return a + made

    assert asyncio.run(later(1)) == 3
    assert later.job_class._spec.is_async
    assert later.dispatch_sync(1) == 3
    with pytest.raises(InvalidJob, match=r"@job .*async def"):

        @job(name="test.atomic", atomic=True)
        async def atomic():
            pass


def test_using_configures_a_copy():
    @job(name="test.using")
    def using(a):
        pass

    high = using.using(queue="high").using(tries=2)
    assert high.bind(1)._using == {"queue": "high", "tries": 2}
    assert using.bind(1)._using == {}
    assert high.job_class is using.job_class


def test_current_job_knows_the_bound_job():
    @job(name="test.current")
    def current(a):
        return current_job().instance, current_job().name

    instance, name = current.dispatch_sync(4)
    assert isinstance(instance, FunctionJob)
    assert (instance.arguments, name) == ({"a": 4}, "test.current")


def test_a_payload_that_does_not_fit_is_refused():
    @job(name="test.fit")
    def fit(a):
        pass

    spec = fit.job_class._spec
    with pytest.raises(InvalidPayload, match="it lacks a"):
        spec.load({})
    with pytest.raises(InvalidPayload, match="it has z, which the code does not take"):
        spec.load({"a": 1, "z": 2})


@pytest.mark.parametrize("target", [print, "text", Job, lambda: None])
def test_what_is_no_function_with_a_name_is_refused(target):
    with pytest.raises(InvalidJob):
        job(name="test.none")(target)


def test_a_generator_is_refused():
    with pytest.raises(InvalidJob, match="contains yield"):

        @job(name="test.generator")
        def generator():
            yield


@pytest.mark.parametrize("name", ["delay", "apply_async"])
def test_celerys_names_lead_to_dispatch(name):
    @job(name="test.celery")
    def celery(a):
        pass

    for target in (celery, celery.bind(1)):
        with pytest.raises(AttributeError, match=r"dispatch\(\)"):
            getattr(target, name)
    with pytest.raises(AttributeError, match="has no attribute 'b'"):
        celery.bind(1).b  # noqa: B018 - read for its error
