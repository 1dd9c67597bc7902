"""The pytest plugin, in a project of its own whose database must not be touched."""

from __future__ import annotations

import configparser
import os
import subprocess
import sys

import pytest

from tests.support import ROOT

# By its module, whether or not djqueue is installed with its entry points.
PLUGINS = ["-p", "no:djqueue", "-p", "djqueue.pytest_plugin", "-p", "no:cacheprovider"]
SETTINGS = """
SECRET_KEY = "x"
INSTALLED_APPS = ["djqueue"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "/nowhere/at/all"}}
"""
TESTS = """
from djqueue import job
from djqueue.testing import fake_queue as faking

@job(name="greet")
def greet(who): raise AssertionError("it ran")

def test_the_fixture_records(fake_queue):
    greet.dispatch("you")
    fake_queue.assert_dispatched(greet, times=1)

def test_each_test_has_one_of_its_own(fake_queue):
    fake_queue.assert_nothing_dispatched()

@faking()
def test_the_decorator_fills_its_parameter(fake_queue):
    greet.dispatch("you")
    fake_queue.assert_dispatched(greet, where=lambda job: job.who == "you")

def test_a_failure_is_shown_without_the_helper_s_own_lines(fake_queue):
    fake_queue.assert_dispatched(greet)
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "project_settings.py").write_text(SETTINGS)
    (tmp_path / "test_project.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nDJANGO_SETTINGS_MODULE = project_settings\n")
    return tmp_path


def without_settings():
    return {key: value for key, value in os.environ.items() if "DJANGO" not in key}


def run_pytest(project, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "pytest", *PLUGINS, *arguments],
        cwd=project,
        env={**without_settings(), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    ).stdout


def test_the_fixture_records_and_touches_no_database(project):
    output = run_pytest(project)
    assert "3 passed" in output, output
    assert "1 failed" in output, output
    assert "E       AssertionError: greet was not dispatched." in output, output
    assert "Nothing was dispatched." in output, output
    assert "djqueue/testing/faking.py" not in output, output


def test_its_fixture_is_listed_with_what_it_does(project):
    assert "Jobs dispatched during the test are recorded" in run_pytest(project, "--fixtures")


def test_it_is_found_by_its_entry_point():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    assert "djqueue = djqueue.pytest_plugin" in parser["options.entry_points"]["pytest11"]


def test_the_helpers_are_light_until_they_are_used():
    script = (
        "import sys, djqueue.testing as testing, djqueue.pytest_plugin\n"
        "assert 'djqueue.testing.faking' not in sys.modules\n"
        "assert 'djqueue.testing.contract' not in sys.modules\n"
        "from django.conf import settings\n"
        "testing.fake_queue, testing.work, testing.FakeQueue\n"
        "assert not settings.configured\n"
        "assert set(testing.__all__) <= set(dir(testing))\n"
    )
    environment = without_settings()
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, check=True)
