"""event_list, make_event, make_listener."""

import ast
import json
import sys

import pytest
from django.apps import AppConfig, apps

from djqueue.events import listen
from tests.events.happenings import OrderLost, OrderShipped, own_listeners


@pytest.fixture(autouse=True)
def _own_listeners():
    with own_listeners():
        yield


def plain(given):
    """Hears, at once."""


def late(given):
    """Hears, as a job."""


@pytest.fixture
def app(tmp_path, monkeypatch):
    class Shop(AppConfig):
        path = str(tmp_path)

    shop = Shop("shop", type(sys)("shop"))
    monkeypatch.setattr(apps, "get_app_config", lambda label: shop)
    return shop


def test_events_are_listed_with_their_listeners(run):
    listen(OrderShipped)(plain)
    listen("shop.Order[LS]*", queued=True, queue="mail", name="shop.late")(late)
    listen("blog.*", after_commit=True)(plain)
    lines = run("event_list").out.splitlines()
    at = lines.index("shop.OrderShipped")
    assert lines[at + 1 : at + 3] == [
        "  tests.commands.test_events.plain",
        "  tests.commands.test_events.late by shop.Order[LS]* (queued queue=mail)",
    ]
    assert lines[lines.index("notes.NoteWritten") + 1] == "  (no listener)"
    assert lines[-2:] == [
        "blog.* (matches no event)",
        "  tests.commands.test_events.plain by blog.* (after the commit)",
    ]


def test_a_part_of_a_name_narrows_the_list(run):
    listen(OrderLost)(plain)
    found = [json.loads(line) for line in run("event_list", "lost", "--json").out.splitlines()]
    assert [(each["event"], each["listener"], each["queued"]) for each in found] == [
        ("shop.OrderLost", "tests.commands.test_events.plain", False)
    ]
    assert run("event_list", "nothing").code == 3


def test_an_event_is_written(run, app, tmp_path):
    done = run("make_event", "shop", "order_shipped")
    assert "Wrote shop.OrderShipped into" in done.out
    assert "event(OrderShipped())" in done.out
    text = (tmp_path / "events.py").read_text()
    assert text.startswith("from djqueue.events import Event\n\n\nclass OrderShipped(Event):\n")
    ast.parse(text)
    assert run("make_event", "shop", "OrderShipped").code == 1


@pytest.mark.parametrize("function", [False, True])
def test_a_listener_is_written(run, app, tmp_path, function):
    more = ["--function"] if function else []
    assert run("make_listener", "shop", "SendNote", "--event", "shop.OrderShipped", *more).code == 0
    assert run("make_listener", "shop", "Log", *more).code == 0
    text = (tmp_path / "listeners.py").read_text()
    ast.parse(text)
    assert "from tests.events.happenings import OrderShipped\n" in text
    if function:
        assert "@listen(OrderShipped, queued=True)\ndef send_note(event: OrderShipped)" in text
        assert '@listen("shop.*", queued=True)\ndef log(event: Event)' in text
    else:
        assert "class SendNote(Listener, event=OrderShipped, queued=True):" in text
        assert 'class Log(Listener, event="shop.*", queued=True):' in text


def test_an_unknown_event_is_told_with_the_nearest(run, app, tmp_path):
    done = run("make_listener", "shop", "SendNote", "--event", "shop.OrderShiped")
    assert done.code == 1
    assert "Did you mean" in done.err
    assert not (tmp_path / "listeners.py").exists()
