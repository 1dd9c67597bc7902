"""The layers hold: imports point down only, and all but two layers work before Django is set up."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.imports import PACKAGE, ROOT, Import, imports_of, modules

# Lowest first. A module belongs to the entry that is the longest beginning of its name; every
# module must have one, so a new module says here where it belongs.
LAYERS: dict[str, list[str]] = {
    "ground": ["errors", "compat", "conf", "signals"],
    "data": [
        "text",
        "payload",
        "arguments",
        "runner.decision",
        "statistics.histogram",
    ],
    "tracing": ["tracing"],
    "models": ["models", "indexes", "routers", "migrations"],
    "databases": ["databases"],
    "drivers": ["drivers", "payload.store", "payload.ids"],
    "definitions": [
        "jobs.definition",
        "jobs.registry",
        "jobs.inject",
        "runner.current",
    ],
    "limits": ["limits"],
    "middleware": ["middleware"],
    "runner": ["runner", "context", "tracing.running"],
    "finish": ["finish"],
    "results": ["results"],
    "waiting steps": [
        "composition.chains.steps",
        "composition.removing",
        "composition.pushing",
        "composition.failures",
        "composition.following",
        "composition.ended",
        "composition.batches.counting",
        "composition.batches.turns",
        "composition.batches.announcing",
        "composition.batches.asking",
    ],
    "dispatch": ["dispatch", "tracing.dispatching"],
    "jobs": ["jobs"],
    "composition": ["composition"],
    "events": ["events", "receivers"],
    "mail": ["mail", "commands"],
    "operations": ["operations", "statistics", "notify", "metrics"],
    "worker": ["worker"],
    "edges": [
        "admin",
        "apps",
        "checks",
        "http",
        "jobs.discovery",
        "management",
        "pytest_plugin",
        "templatetags",
        "testing",
        "urls",
        "",  # djqueue itself: the names that users import
    ],
}

# (importer, imported): why this one arrow may point up. Names are module names, exactly.
EXCEPTIONS: dict[tuple[str, str], str] = {}

# Reached through functions only: importing them needs Django's app registry.
NEED_APPS = {"models", "edges"}


def layer_of(module: str) -> str | None:
    """Return the layer a module of djqueue belongs to."""
    name = module.removeprefix(PACKAGE).lstrip(".")
    while True:
        for layer, entries in LAYERS.items():
            if name in entries:
                return layer
        if "." not in name:
            return None
        name = name.rpartition(".")[0]


def height(module: str) -> int:
    layer = layer_of(module)
    return len(LAYERS) if layer is None else list(LAYERS).index(layer)


ALL = [each for name, path in modules().items() for each in imports_of(name, path)]
INSIDE = [each for each in ALL if each.imported.split(".")[0] == PACKAGE]


def show(imports: list[Import]) -> str:
    return "\n".join(map(str, imports))


def test_every_module_has_a_layer():
    homeless = [name for name in modules() if layer_of(name) is None]
    assert not homeless, f"say in LAYERS where they belong: {', '.join(homeless)}"


def test_every_entry_is_there():
    entries = [entry for entries in LAYERS.values() for entry in entries if entry]
    gone = [entry for entry in entries if f"{PACKAGE}.{entry}" not in modules()]
    assert not gone, f"in LAYERS, but no module: {', '.join(gone)}"


def test_arrows_point_down():
    upward = [
        each
        for each in INSIDE
        if height(each.imported) > height(each.importer)
        and (each.importer, each.imported) not in EXCEPTIONS
    ]
    assert not upward, show(upward)


def test_exceptions_are_needed():
    arrows = {
        (each.importer, each.imported)
        for each in INSIDE
        if height(each.imported) > height(each.importer)
    }
    assert set(EXCEPTIONS) <= arrows


def test_the_ground_imports_nothing_but_errors():
    def part(module: str) -> str:
        return module.split(".")[1] if "." in module else module

    wrong = [
        each
        for each in INSIDE
        if layer_of(each.importer) == "ground"
        and part(each.imported) not in {"errors", part(each.importer)}
    ]
    assert not wrong, show(wrong)


def test_data_has_no_database_and_no_clock():
    # Models and querysets are types of arguments; looking one up is a lazy import's business.
    about_types = {"djqueue.arguments": "django.db"}

    def is_forbidden(each: Import) -> bool:
        if each.imported in {"time", "asyncio", "threading"}:
            return True
        package = ".".join(each.importer.split(".")[:2])
        allowed = each.imported.startswith(about_types.get(package, "?"))
        return each.imported.startswith("django.db") and not allowed

    data = [each for each in ALL if layer_of(each.importer) == "data" and not each.lazy]
    wrong = [each for each in data if is_forbidden(each)]
    assert not wrong, show(wrong)


def test_imports_are_absolute():
    for path in modules().values():
        assert "from ." not in path.read_text(), path


@pytest.mark.parametrize(
    "module", [name for name in modules() if name == PACKAGE or layer_of(name) not in NEED_APPS]
)
def test_it_can_be_imported_before_django_is_set_up(module, importable):
    assert importable.get(module) == "", importable.get(module)


@pytest.fixture(scope="module")
def importable():
    """What happened when each module was imported in a fresh process without settings."""
    script = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    try:\n"
        "        importlib.import_module(name)\n"
        "    except Exception as error:\n"
        "        print(name, repr(error).replace('\\n', ' '))\n"
        "    else:\n"
        "        print(name, '')\n"
    )
    names = [name for name in modules() if name == PACKAGE or layer_of(name) not in NEED_APPS]
    done = subprocess.run(
        [sys.executable, "-c", script, *names],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = (line.partition(" ") for line in done.stdout.splitlines())
    return {name: problem for name, _, problem in lines}
