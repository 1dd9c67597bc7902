"""The driver of docs/writing-a-driver.md is a file that passes the contract."""

from __future__ import annotations

import ast
import sys

import pytest
from django.core.checks import run_checks
from django.test import override_settings

from djqueue import job
from djqueue.errors import QueueUnavailable
from djqueue.testing import work
from tests.docs.markdown import ROOT, blocks

EXAMPLE = ROOT / "docs" / "examples" / "file_driver.py"
DRIVER, SETTINGS, TESTS, *_ = blocks(ROOT / "docs" / "writing-a-driver.md")


answers: list[float] = []


@job(name="test.docs.divide", tries=3)
def divide(by: int) -> None:
    answers.append(1 / by)


def class_of_the_page():
    """The class in the page's second example, which imports the first."""
    sys.path.insert(0, str(EXAMPLE.parent))
    try:
        names: dict[str, type] = {"__name__": __name__}
        exec(compile(TESTS.source, str(TESTS.page), "exec"), names)
        return names["TestFileDriver"]
    finally:
        sys.path.remove(str(EXAMPLE.parent))


class TestFileDriver(class_of_the_page()):
    crowd = 100

    def kill_lease(self):
        with sys.modules["file_driver"].stored(self.pusher.settings) as there:
            for job in there.values():
                job["until"] = job["until"] and job["until"] - self.lease - 1

    def test_what_the_system_says_is_told_as_the_queues_do(self):
        self.options = {"PATH": "/nowhere/jobs.json"}
        with pytest.raises(QueueUnavailable, match=r"/nowhere/jobs\.json cannot be used"):
            self.pusher.push([self.job()])


@pytest.mark.django_db
def test_jobs_run_on_it(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLE.parent)
    connection = {"DRIVER": "file_driver.FileDriver", "PATH": str(tmp_path / "jobs.json")}
    with override_settings(DJQUEUE={"DEFAULT": "file", "CONNECTIONS": {"file": connection}}):
        assert run_checks(tags=["djqueue"]) == []
        dispatched = divide.dispatch(1)
        divide.dispatch(0)
        assert dispatched.status == "waiting"
        assert work() == 4
    assert answers == [1.0]


def test_the_page_shows_the_tested_file():
    assert DRIVER.text == EXAMPLE.read_text()
    assert "PATH" in SETTINGS.text


def test_it_is_short():
    tree = ast.parse(EXAMPLE.read_text())
    docstrings = {
        line
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node)
        for line in range(node.body[0].lineno, node.body[0].end_lineno + 1)
    }
    lines = enumerate(EXAMPLE.read_text().splitlines(), 1)
    code = [line for number, line in lines if line.strip() and number not in docstrings]
    assert len(code) <= 135, f"{len(code)} lines of code"
