"""Closures as jobs: ``dispatch(lambda: …)`` and local functions, as signed code.

The code travels inside the payload, made by the package cloudpickle. Code that runs in a worker can
do anything, so closures have to be turned on, with keys of its own:
``DJQUEUE["CLOSURE_KEYS"]``. The first key signs; a worker takes what any of them has signed.
Nothing is unpickled, and so nothing is imported, before the signature has proved right.
"""

from __future__ import annotations

import base64
import hmac
import inspect
import io
import json
import os
import pickle
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import FunctionType
from typing import Any, TypeGuard

from asgiref.sync import async_to_sync
from django.conf import LazySettings, Settings, UserSettingsHolder
from django.conf import settings as project_settings
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from djqueue import arguments
from djqueue.conf import settings
from djqueue.dispatch.dispatch import conversions
from djqueue.errors import ClosureRefused, InvalidJob, MissingPackage, NotSerializable
from djqueue.jobs.definition.declaration import refuse_generator
from djqueue.jobs.job import Job
from djqueue.text.printable import one_line

__all__ = ["ClosureJob", "as_job", "is_closure"]

MISSING = 'Closures need the package cloudpickle: pip install "djqueue[closures]".'
UNSET = (
    'djqueue does not run closures unless DJQUEUE["CLOSURE_KEYS"] has a key, with which they are '
    "signed: make one with secrets.token_urlsafe(32). A function with @job needs none of this."
)
_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_LONGEST_PLACE = 100
_ANYTHING = arguments.compile(Any)
_SETTINGS = {"$": "settings"}
"""Stands for the project's settings, which the worker has itself: they hold secrets."""


class ClosureJob(Job, name="djqueue.closure", fail_on=(ClosureRefused,)):
    """The job of a closure."""

    code: str
    """The pickled function, in base64."""
    python: str
    """The version of Python that wrote it, such as 3.13: others cannot run its code."""
    place: str
    """Where it is written: ``views.py:42``."""
    signature: str

    def display_name(self) -> str:
        """Return where it is written."""
        return f"closure ({one_line(self.place, _LONGEST_PLACE)})"

    def handle(self) -> Any:
        """Call the function. Raises `ClosureRefused` before anything of it is read."""
        answer = _unpickled(self)()
        return async_to_sync(_awaited)(answer) if inspect.iscoroutine(answer) else answer


def is_closure(value: object) -> TypeGuard[FunctionType]:
    """Return whether `value` is a lambda, or a function that is defined in another one."""
    return isinstance(value, FunctionType) and (
        value.__name__ == "<lambda>" or "<locals>" in value.__qualname__
    )


def as_job(value: Any) -> Any:
    """Return the job of a closure; what is none unchanged. Raises `InvalidJob` where closures are
    not turned on or it takes arguments, and `NotSerializable` for what cannot travel.
    """
    return _job_of(value) if is_closure(value) else value


def _job_of(function: FunctionType) -> ClosureJob:
    if not settings().closure_keys:
        raise InvalidJob(f"{UNSET} Nothing was queued.")
    for each in inspect.signature(function).parameters.values():
        if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD):
            raise InvalidJob(
                f"A closure is called without arguments, and nothing fills {each.name!r}. Let it "
                f"take the value from around it, or give it a default. Nothing was queued."
            )
    code = function.__code__
    place = f"{Path(code.co_filename).name}:{code.co_firstlineno}"
    refuse_generator(function, f"closure ({place})")
    pickled = base64.b64encode(_pickled(function, place)).decode()
    signed = _signatures(_PYTHON, place, pickled)[0]
    return ClosureJob(pickled, _PYTHON, place, signed)


def _signatures(python: str, place: str, code: str) -> list[str]:
    """Return the signature by each key. It is about all that is stored."""
    text = json.dumps(["djqueue.closure", python, place, code]).encode()
    keys = settings().closure_keys
    return [hmac.new(key.encode(), text, sha256).hexdigest() for key in keys]


def _cloudpickle() -> Any:
    """Return the package. Raises `MissingPackage`."""
    try:
        import cloudpickle  # type: ignore[import-untyped]
    except ImportError:
        raise MissingPackage(MISSING) from None
    return cloudpickle


def _pickled(function: FunctionType, place: str) -> bytes:
    base: Any = _cloudpickle().Pickler

    class Pickler(base):  # type: ignore[misc]  # it has no types
        """Models, querysets and the settings travel as references."""

        def persistent_id(self, value: Any) -> Any:
            return _reference(value, place)

    out = io.BytesIO()
    try:
        Pickler(out).dump(function)
    except NotSerializable:
        raise
    except Exception as error:
        raise NotSerializable(
            f"closure ({place}) holds what cannot be sent to another process: {error}. Take what "
            "it needs of that before, or fetch it inside the closure. Nothing was queued."
        ) from error
    return out.getvalue()


def _reference(value: Any, place: str) -> Any:
    """Return what is stored in place of a value, or None. Raises `NotSerializable` for what must
    not be copied into a queue.
    """
    if isinstance(value, (Model, QuerySet)):
        return _ANYTHING.encode(value, f"closure ({place}): a variable of it")
    if isinstance(value, (LazySettings, Settings, UserSettingsHolder)):
        return _SETTINGS
    if isinstance(value, (HttpRequest, type(os.environ))):
        name = "a request" if isinstance(value, HttpRequest) else "os.environ"
        raise NotSerializable(
            f"closure ({place}) uses {name}, which would be copied into the queue, with what is "
            "secret in it. Take what it needs of that before. Nothing was queued."
        )
    return None


class _Unpickler(pickle.Unpickler):
    def persistent_load(self, reference: Any) -> Any:
        if reference == _SETTINGS:
            return project_settings
        return _ANYTHING.decode(reference, "closure: a variable of it")


def _unpickled(job: ClosureJob) -> Callable[[], Any]:
    """Return the function. Raises `ClosureRefused` for what was not signed here, before anything of
    it is read.
    """
    if not settings().closure_keys:
        raise ClosureRefused(UNSET)
    parts = (job.code, job.python, job.place, job.signature)
    if not all(isinstance(each, str) for each in parts):
        raise ClosureRefused("A part of the closure is no text. It was not executed.")
    found = _signatures(job.python, job.place, job.code)
    given = job.signature.encode(errors="surrogatepass")
    if not any(hmac.compare_digest(each.encode(), given) for each in found):
        raise ClosureRefused(
            f"None of the keys has signed {job.display_name()}: its key is gone from "
            'DJQUEUE["CLOSURE_KEYS"], or it was altered. It was not executed.'
        )
    if job.python != _PYTHON:
        raise ClosureRefused(
            f"{job.display_name()} was written by Python {job.python}, and this is Python "
            f"{_PYTHON}: the code of one cannot run on the other. It was not executed."
        )
    _cloudpickle()
    function: Callable[[], Any] = _Unpickler(io.BytesIO(base64.b64decode(job.code))).load()
    return function


async def _awaited(coroutine: Any) -> Any:
    return await coroutine


conversions.append(as_job)
