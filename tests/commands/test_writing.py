"""make_job and queue_listen, and that every command is documented."""

from __future__ import annotations

import os
import pkgutil
import sys
import textwrap
from pathlib import Path

import pytest
from django.apps import AppConfig, apps
from django.core.management import load_command_class

from djqueue.management import commands
from djqueue.management.scaffold import ScaffoldError, write_job
from tests.support import ROOT, start_worker, wait_until

REFERENCE = ROOT / "docs" / "reference" / "commands.md"
COMMANDS = sorted(module.name for module in pkgutil.iter_modules(commands.__path__))


# -- make_job ------------------------------------------------------------------------------------


@pytest.fixture
def app(tmp_path):
    class Shop(AppConfig):
        path = str(tmp_path)

    return Shop("shop", type(sys)("shop"))


def test_a_job_class_is_written(app, tmp_path):
    made = write_job(app, "SendReceipt")
    assert made == ("shop.SendReceipt", tmp_path / "jobs.py", "SendReceipt().dispatch()")
    assert (tmp_path / "jobs.py").read_text() == textwrap.dedent(
        '''\
        from djqueue import Job


        class SendReceipt(Job):
            """What this job does."""

            # Its arguments, as in
            #     order: Order

            def handle(self) -> None:
                """Do it. May run more than once: begin by looking whether it is done already."""
        '''
    )


def test_what_is_there_stays(app, tmp_path):
    path = tmp_path / "jobs.py"
    path.write_text('"""Jobs of the shop."""\n\nfrom shop.models import Order\n\nLIMIT = 3')
    write_job(app, "send_receipt")
    write_job(app, "CheckStock", function=True)
    write_job(app, "Third")
    text = path.read_text()
    compile(text, str(path), "exec")
    assert text.startswith(
        '"""Jobs of the shop."""\n\nfrom shop.models import Order\nfrom djqueue import Job\n'
    )
    assert "LIMIT = 3\n\n\nclass SendReceipt(Job):" in text
    assert "@job\ndef check_stock() -> None:" in text
    assert text.count("import Job\n") == text.count("import job\n") == 1


def test_an_import_follows_a_docstring(app, tmp_path):
    (tmp_path / "jobs.py").write_text('"""Jobs."""\n')
    write_job(app, "A")
    assert (tmp_path / "jobs.py").read_text().startswith('"""Jobs."""\n\nfrom djqueue import Job\n')


def test_a_package_of_jobs_gets_a_file(app, tmp_path):
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "__init__.py").touch()
    made = write_job(app, "HTTPCheck")
    assert made.path == tmp_path / "jobs" / "http_check.py"
    assert "class HTTPCheck(Job):" in made.path.read_text()


def test_nothing_is_overwritten(app, tmp_path):
    write_job(app, "SendReceipt")
    before = (tmp_path / "jobs.py").read_text()
    with pytest.raises(ScaffoldError, match="has a SendReceipt already"):
        write_job(app, "SendReceipt")
    assert (tmp_path / "jobs.py").read_text() == before
    (tmp_path / "jobs.py").write_text("def (")
    with pytest.raises(ScaffoldError, match="cannot be parsed as Python"):
        write_job(app, "Other")


def test_the_command_writes_into_an_installed_app(run, app, tmp_path, monkeypatch):
    monkeypatch.setattr(apps, "get_app_config", lambda label: app)
    done = run("make_job", "shop", "Send", "--function")
    assert done.code == 0
    assert "Wrote shop.send into" in done.out
    assert "send.dispatch()" in done.out
    assert run("make_job", "shop", "send", "--function").code == 1
    assert run("make_job", "shop", "no-name").code == 2


def test_an_app_that_is_not_there_is_an_error(run):
    done = run("make_job", "shopp", "Send")
    assert done.code == 1
    assert "shopp" in done.err


# -- queue_listen --------------------------------------------------------------------------------


@pytest.mark.anywhere
@pytest.mark.django_db(transaction=True)
def test_the_worker_is_restarted_when_the_code_changes(tmp_path):
    package = tmp_path / "listened"
    package.mkdir()
    (package / "__init__.py").touch()
    jobs = package / "jobs.py"
    jobs.write_text("")
    installed = ["django.contrib.contenttypes", "django.contrib.auth", "djqueue", "listened"]
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    overrides = {"INSTALLED_APPS": installed, "ROOT_URLCONF": None}
    arguments = ("--sleep", "0.2", "--grace", "5")
    with start_worker(*arguments, overrides=overrides, command="queue_listen", PYTHONPATH=path) as (
        listener
    ):
        wait_until(lambda: listener.output.count("Processing jobs") == 1, 20, "a worker")
        jobs.write_text("CHANGED = True\n")
        wait_until(lambda: listener.output.count("Processing jobs") == 2, 20, "another one")
        assert f"{jobs} has changed" in listener.output
        assert listener.output.index("Stopped after") < listener.output.rindex("Processing jobs")
        assert listener.stop() == 0
        assert listener.children == []


@pytest.mark.anywhere
@pytest.mark.django_db(transaction=True)
def test_a_bounded_worker_is_not_followed_by_another():
    with start_worker("--stop-when-empty", command="queue_listen") as listener:
        assert listener.wait(40) == 0


# -- all of them ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented_with_an_example(name):
    text = REFERENCE.read_text()
    assert f"\n## {name}\n" in text
    section = text.split(f"\n## {name}\n")[1].split("\n## ")[0]
    assert f"$ python manage.py {name}" in section


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_documented(name):
    section = REFERENCE.read_text().split(f"\n## {name}\n")[1].split("\n## ")[0]
    parser = load_command_class("djqueue", name).create_parser("manage.py", name)
    own = [
        action.option_strings
        for action in parser._actions
        if action.option_strings and action.option_strings[-1] not in _DJANGO
    ]
    missing = [options[0] for options in own if options[0] not in section]
    assert not missing


_DJANGO = {
    "--help", "--version", "--verbosity", "--settings", "--pythonpath", "--traceback",
    "--no-color", "--force-color", "--skip-checks",
}  # fmt: skip


def test_every_command_explains_itself():
    for name in COMMANDS:
        assert load_command_class("djqueue", name).help


def test_the_library_holds_what_the_commands_do():
    folder = Path(commands.__path__[0])
    for path in folder.glob("queue_*.py"):
        assert ".objects" not in path.read_text(), f"{path.name} asks a table itself"
