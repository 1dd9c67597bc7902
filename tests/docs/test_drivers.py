"""The table of docs/drivers/index.md says what the drivers say of themselves."""

from __future__ import annotations

import importlib.util
import re

import pytest

from djqueue.conf import ConnectionSettings
from djqueue.drivers import SHORT_NAMES, driver_class
from djqueue.drivers.base import Capabilities
from djqueue.errors import MissingPackage
from tests.docs.markdown import ROOT

PAGE = (ROOT / "docs" / "drivers" / "index.md").read_text()
COLUMNS = {"order": "ordered", "list jobs": "peek", "delete one": "remove"}


def rows():
    """The cells of the first table, by the driver's name."""
    table = PAGE[PAGE.index("| driver | order |") :].split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    return {re.sub(r"\[(\w+)\].*", r"\1", name): rest for name, *rest in cells}


def expected(capabilities: Capabilities):
    if capabilities.why_not("workers"):
        return ["by member"] * 6
    if capabilities.inline:
        when = "after the response" if capabilities.after_response else "at once"
        return [f"runs {when}", *[""] * 5]
    if capabilities.discards:
        return ["throws jobs away", *[""] * 5]
    most = capabilities.max_delay
    return [
        yes_or_no(capabilities.why_not("ordered")),
        "any" if most is None else f"up to {most:,.0f} s",
        yes_or_no(capabilities.why_not("priorities")),
        yes_or_no(capabilities.why_not("peek")),
        yes_or_no(capabilities.why_not("remove")),
        yes_or_no(capabilities.why_not("exact_counts")),
    ]


def yes_or_no(reason: str | None) -> str:
    return "yes" if reason is None else "no"


def there_are():
    modules = {name: path.rpartition(".")[0] for name, path in SHORT_NAMES.items()}
    return [name for name, module in modules.items() if importlib.util.find_spec(module)]


def capabilities_of(name: str) -> Capabilities:
    try:
        return driver_class(ConnectionSettings(name, name)).capabilities
    except MissingPackage as missing:
        pytest.skip(str(missing))


def test_every_driver_has_a_row():
    assert set(rows()) == set(there_are())


@pytest.mark.parametrize("name", there_are())
def test_a_row_says_what_the_driver_says(name):
    capabilities = capabilities_of(name)
    assert rows()[name] == expected(capabilities)
    if capabilities.why_not("workers") is None:
        for title, field in COLUMNS.items():
            reason = capabilities.why_not(field)
            assert reason is None or f"- **{name}**, {title}: {reason}" in PAGE
