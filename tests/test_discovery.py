"""Each app's jobs and listeners are imported as Django starts."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from django.test import override_settings

from djqueue.jobs import discovery

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def app(tmp_path, monkeypatch):
    """Return a function that writes an app, installs it for the test and discovers it.

    The app's modules append to a list that the function returns.
    """
    seen: list[str] = []
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "imported_by_test", seen, raising=False)
    overrides = []

    def app(files: dict[str, str], name: str = "discovered") -> list[str]:
        (tmp_path / name).mkdir()
        for path, text in {"__init__.py": "", **files}.items():
            file: Path = tmp_path / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"import sys; sys.imported_by_test.append(__name__)\n{text}")
        override = override_settings(INSTALLED_APPS=["djqueue", name])
        overrides.append(override)
        override.enable()
        return [module for module in seen if module != name]

    yield app
    for override in overrides:
        override.disable()
    for module in [m for m in sys.modules if m.partition(".")[0] == "discovered"]:
        del sys.modules[module]
    discovery.discover()


def test_modules_jobs_and_listeners_are_imported_and_no_others(app):
    assert app({"jobs.py": "", "listeners.py": "", "views.py": ""}) == [
        "discovered.jobs",
        "discovered.listeners",
    ]
    assert discovery.errors() == []


def test_every_submodule_of_a_package_is_imported(app):
    seen = app(
        {
            "jobs/__init__.py": "",
            "jobs/mail.py": "",
            "jobs/reports/__init__.py": "",
            "jobs/reports/weekly.py": "",
            "jobs/__main__.py": "raise SystemExit",
        }
    )
    assert seen == [
        "discovered.jobs",
        "discovered.jobs.mail",
        "discovered.jobs.reports",
        "discovered.jobs.reports.weekly",
    ]


def test_packages_of_scheduled_jobs_of_other_libraries_do_no_harm(app):
    seen = app(
        {
            "jobs/__init__.py": "",
            "jobs/daily/__init__.py": "",
            "jobs/daily/clean.py": "class Job:\n    def execute(self): 1 / 0\n",
        }
    )
    assert seen[-1] == "discovered.jobs.daily.clean"
    assert discovery.errors() == []


def test_a_module_that_fails_is_noted_with_its_place_and_the_rest_is_imported(app):
    seen = app(
        {
            "jobs/__init__.py": "",
            "jobs/broken.py": "import nothing_of_that_name\n",
            "jobs/fine.py": "",
            "listeners.py": "1 / 0\n",
        }
    )
    assert "discovered.jobs.fine" in seen
    broken, listeners = discovery.errors()
    assert broken.module == "discovered.jobs.broken"
    assert isinstance(broken.error, ModuleNotFoundError)
    assert broken.place.endswith("broken.py:2")
    assert listeners.place.endswith("listeners.py:2")


def test_a_syntax_error_is_placed_in_the_file_that_has_it(app):
    app({"jobs.py": "def (:\n"})
    [failure] = discovery.errors()
    assert failure.place.endswith("jobs.py:2")


def test_an_error_inside_a_library_is_placed_at_the_line_of_the_project(app):
    app({"jobs.py": "import json\njson.loads('{')\n"})
    [failure] = discovery.errors()
    assert failure.place.endswith("jobs.py:3")


def test_discovering_again_forgets_earlier_failures(app, tmp_path):
    app({"jobs.py": "1 / 0"})
    assert len(discovery.errors()) == 1
    (tmp_path / "discovered" / "jobs.py").write_text("")
    discovery.discover()
    assert discovery.errors() == []
