"""The pages about settings have every key that there is, no other, and its default."""

from __future__ import annotations

import ast
import re
from dataclasses import replace

import pytest

from djqueue.conf import ConnectionSettings, read
from djqueue.conf.kinds import Option
from djqueue.conf.reader import CONNECTION, SETTINGS
from djqueue.drivers import SHORT_NAMES, driver_class
from tests.docs.markdown import ROOT, section

PAGE = ROOT / "docs" / "reference" / "settings.md"
OWN_PAGES = {name: ROOT / "docs" / "drivers" / f"{name}.md" for name in ("redis", "sqs")}
OWN_PAGES |= {name: ROOT / "docs" / "drivers" / f"{name}.md" for name in ("beanstalkd", "failover")}


def rows(text):
    """Return the rows about keys in tables, by key; a row may be about several."""
    found = {}
    for line in text.splitlines():
        if line.startswith("| `"):
            keys, _, rest = line.removeprefix("| ").partition(" | ")
            found |= dict.fromkeys(re.findall(r"`([A-Z_]+)`", keys), rest)
    return found


def lacks_defaults(options, table):
    """Return the keys whose row does not have the default in parentheses."""
    return [
        key
        for key, option in options.items()
        if option.default not in (None, "", (), {})
        and not re.search(rf"\([^)]*{re.escape(str(option.default))}\b", table[key])
    ]


def test_the_dict_of_the_page_is_what_djqueue_does_without_it():
    (source,) = re.findall(r"^DJQUEUE = (\{.*?^\})", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    shown, usual = read(ast.literal_eval(source)), read(None)
    assert [shown.connection(name).database for name in usual.connections] == ["default"] * 3
    bare = {name: replace(each, options={}) for name, each in shown.connections.items()}
    assert replace(shown, connections=bare) == usual


def test_every_key_of_the_setting_has_a_row():
    table = rows(PAGE.read_text().partition("## Connections")[0])
    assert set(table) == set(SETTINGS)
    for key, options in SETTINGS.items():
        if not isinstance(options, Option):
            missing = [name for name in options if f"`{name}`" not in table[key]]
            assert not missing or key == "FAILED_JOBS", (key, missing)


def test_every_key_of_a_connection_has_a_row_with_its_default():
    table = rows(section(PAGE, "Connections").partition("### database")[0])
    assert set(table) == set(CONNECTION)
    told = {key: option for key, option in CONNECTION.items() if key != "DRIVER"}
    assert lacks_defaults(told, table) == []


@pytest.mark.parametrize("driver", SHORT_NAMES)
def test_every_key_of_a_driver_has_a_row_with_its_default(driver):
    options = driver_class(ConnectionSettings("x", driver)).OPTIONS
    page = OWN_PAGES.get(driver)
    text = page.read_text() if page else PAGE.read_text().partition(f"### {driver}")[2]
    table = rows(text.partition("\n### ")[0] if page is None else text)
    assert set(options) <= set(table)
    assert set(table) <= set(options) | set(CONNECTION)
    assert lacks_defaults(options, table) == []
