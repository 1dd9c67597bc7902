"""What the checks say about the DJQUEUE setting."""

from __future__ import annotations

import importlib

import pytest

NULL = {"DRIVER": "null"}


def connections(**more):
    return {"DEFAULT": "null", "CONNECTIONS": {"null": NULL, **more}}


def only(messages):
    [message] = messages
    return message


def test_zero_configuration_has_nothing_to_say(messages):
    assert messages() == []
    assert messages({}) == []
    assert messages(connections()) == []


@pytest.mark.parametrize("raw", [[1], "redis", {"CONNECTIONS": 3}, {"ROUTES": []}])
def test_what_is_no_dict(messages, raw):
    assert only(messages(raw)).id == "djqueue.E001"


@pytest.mark.parametrize(
    ("change", "meant"),
    [
        ({"DEFALT": "null"}, "DEFAULT"),
        ({"connections": {}}, "CONNECTIONS"),
        ({"FAILED_JOBS": {"DATABSE": "default"}}, "DATABASE"),
        ({"BATCHES": {"database": "default"}}, "DATABASE"),
        ({"MASK": {"ad": ["customer"]}}, "add"),
        ({"PRUNE_AFTER": {"FAILED_JOB": 3}}, "FAILED_JOBS"),
        ({"PRUNE_AFTER": {"PAYLOAD": 3}}, "PAYLOADS"),
        ({"PAYLOADS": {"STORAGES": "default"}}, "STORAGE"),
        (connections(x={"DRIVER": "null", "COMPRES_ABOVE": 3}), "COMPRESS_ABOVE"),
        ({"ROUTES": {"a.*": {"queues": "x"}}}, "queue"),
        (connections(x={"DRIVER": "null", "RETRY_AFETR": 3}), "RETRY_AFTER"),
        (connections(x={"DRIVER": "null", "queue": "mail"}), "QUEUE"),
        (connections(x={"DRIVER": "database", "DATABSE": "default"}), "DATABASE"),
    ],
)
def test_an_unknown_key_at_every_level(messages, change, meant):
    message = only(messages({**connections(), **change}))
    assert message.id == "djqueue.E002"
    assert f'Did you mean "{meant}"?' in message.hint


def test_a_key_of_another_driver_is_unknown(ids):
    assert ids(connections(x={"DRIVER": "null", "URL": "redis://host"})) == ["djqueue.E002"]


@pytest.mark.parametrize(
    "change",
    [
        {"AFTER_COMMIT": "yes"},
        {"UNKNOWN_JOB_GRACE": -1},
        {"UNKNOWN_JOB_GRACE": None},
        {"UNKNOWN_JOB_GRACE": float("nan")},
        {"PRUNE_AFTER": {"FAILED_JOBS": "7 days"}},
        {"MASK": {"add": "customer"}},
        {"RESULTS": {"DATABASE": None}},
        {"FAILED_JOBS": {"DATABASE": ""}},
        {"PAYLOADS": {"DATABASE": None}},
        {"PAYLOADS": {"STORAGE": ""}},
        {"PAYLOADS": {"MAX_SIZE": 0}},
        {"PAYLOADS": {"MAX_SIZE": None}},
        connections(x={"DRIVER": "null", "COMPRESS_ABOVE": -1}),
        connections(x={"DRIVER": "null", "COMPRESS_ABOVE": True}),
        connections(x={"DRIVER": "null", "STORE_ABOVE": 1.5}),
        {"ROUTES": {"a": {"connection": 3}}},
        connections(x={}),
        connections(x={"DRIVER": ""}),
        connections(x={"DRIVER": object}),
        connections(x={"DRIVER": "null", "RETRY_AFTER": True}),
        connections(x={"DRIVER": "null", "RETRY_AFTER": 0}),
        connections(x={"DRIVER": "null", "AFTER_COMMIT": 1}),
        connections(x={"DRIVER": "null", "QUEUE": None}),
    ],
)
def test_a_value_of_the_wrong_type_or_size(ids, change):
    assert ids({**connections(), **change}) == ["djqueue.E003"]


def test_a_default_that_is_no_connection(messages):
    message = only(messages({"DEFAULT": "databse"}))
    assert message.id == "djqueue.E004"
    assert message.msg == 'DJQUEUE["DEFAULT"] is "databse", which is not in DJQUEUE["CONNECTIONS"].'
    assert message.hint == 'Did you mean "database"? Defined: database, sync, null.'


def test_connections_without_the_default_one(messages):
    message = only(messages({"CONNECTIONS": {"null": NULL}}))
    assert (message.id, message.hint) == ("djqueue.E004", "Defined: null.")


def test_a_route_to_an_unknown_connection(ids):
    assert ids({**connections(), "ROUTES": {"a.*": {"connection": "nul"}}}) == ["djqueue.E004"]


def test_an_unknown_driver(messages):
    message = only(messages(connections(x={"DRIVER": "rediss"})))
    assert message.id == "djqueue.E005"
    assert 'unknown driver "rediss". Did you mean "redis"?' in message.msg


@pytest.mark.parametrize(
    "path", ["nothing.of.that.Name", "djqueue.drivers.base.Drivr", "os.path.join"]
)
def test_a_dotted_path_that_is_no_driver(messages, path):
    message = only(messages(connections(x={"DRIVER": path})))
    assert message.id == "djqueue.E005"
    assert path in message.msg


def test_a_driver_of_the_projects_own_is_found_and_its_keys_are_known(ids):
    path = "tests.checks.drivers.ShelfDriver"
    assert ids(connections(x={"DRIVER": path, "SHELF": "left"})) == []
    assert ids(connections(x={"DRIVER": path, "SHELVE": "left"})) == ["djqueue.E002"]


def test_a_driver_checks_its_own_keys(messages):
    path = "tests.checks.drivers.ShelfDriver"
    message = only(messages(connections(x={"DRIVER": path, "SHELF": "top"})))
    assert message.msg == "x: top is too high"


@pytest.mark.parametrize(("driver", "package"), [("redis", "redis"), ("sqs", "boto3")])
def test_a_driver_whose_package_is_not_installed(messages, monkeypatch, driver, package):
    def import_string(path):
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)

    monkeypatch.setattr(importlib.import_module("djqueue.drivers"), "import_string", import_string)
    found = messages({"DEFAULT": "x", "CONNECTIONS": {"x": {"DRIVER": driver}}})
    message = only(found)
    assert message.id == "djqueue.E006"
    assert message.msg == (f'Connection "x" needs the package "{package}", which is not installed.')
    assert message.hint == f'Run: pip install "djqueue[{driver}]".'


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"FAILED_JOBS": {"DATABASE": "queu"}}, '["FAILED_JOBS"]["DATABASE"]'),
        ({"BATCHES": {"DATABASE": "queu"}}, '["BATCHES"]["DATABASE"]'),
        ({"RESULTS": {"DATABASE": "queu"}}, '["RESULTS"]["DATABASE"]'),
        (
            connections(x={"DRIVER": "database", "DATABASE": "queu"}),
            '["CONNECTIONS"]["x"]["DATABASE"]',
        ),
    ],
)
def test_an_alias_that_is_not_in_databases(messages, change, where):
    message = only(messages({**connections(), **change}))
    assert message.id == "djqueue.E007"
    assert message.msg.startswith(f'DJQUEUE{where} is "queu"')
    assert 'Did you mean "queue"?' in message.hint


@pytest.mark.parametrize("name", ["mail:high", "späm", "a b", "x" * 81, "{a}{b}"])
def test_names_that_no_queue_may_have(ids, name):
    assert ids(connections(x={"DRIVER": "null", "QUEUE": name})) == ["djqueue.E013"]
    assert ids({**connections(), "ROUTES": {"a": {"queue": name}}}) == ["djqueue.E013"]


def test_a_tag_is_for_drivers_that_have_them(ids):
    assert ids(connections(x={"DRIVER": "null", "QUEUE": "{mail}"})) == ["djqueue.E013"]
    own = {"DRIVER": "tests.checks.drivers.ShelfDriver", "QUEUE": "{mail}"}
    assert ids(connections(x=own)) == []


def failover(*members, name="x", **more):
    return connections(**{name: {"DRIVER": "failover", "CONNECTIONS": list(members)}, **more})


def about_members(found):
    # Apart from what the driver says of itself.
    return [message.id for message in found if 'CONNECTIONS"]' in message.msg]


def test_a_failover_to_nothing_to_itself_or_to_strangers(messages):
    assert about_members(messages(failover())) == ["djqueue.E008"]
    assert about_members(messages(failover("null", "nul"))) == ["djqueue.E004"]
    assert about_members(messages(failover("null", 3, []))) == ["djqueue.E004"] * 2
    assert about_members(messages(failover("null", "x"))) == ["djqueue.E008"]
    assert about_members(messages(failover("null"))) == []


@pytest.mark.parametrize("greedy", ["null", "sync", "deferred"])
def test_members_that_would_never_be_asked(messages, greedy):
    more = {"sync": {"DRIVER": "sync"}, "deferred": {"DRIVER": "deferred"}}
    more["db"] = {"DRIVER": "database"}
    found = messages(failover(greedy, "db", **more))
    assert about_members(found) == ["djqueue.E008"]
    assert f'after "{greedy}"' in found[0].msg
    assert messages(failover("db", greedy, **more)) == []


@pytest.mark.parametrize("keys", [{"PROBE_AFTER": -1}, {"FAIL_OVER_IF_UNSURE": "no"}])
def test_keys_of_a_failover(ids, keys):
    x = {"DRIVER": "failover", "CONNECTIONS": ["null"]}
    assert ids(connections(x={**x, **keys})) == ["djqueue.E003"]
    assert ids(connections(x={**x, "PROBE_AFTER": 1, "FAIL_OVER_IF_UNSURE": False})) == []


def test_a_failover_that_leads_back_by_way_of_another(messages):
    other = {"DRIVER": "failover", "CONNECTIONS": ["x", "null"]}
    assert about_members(messages(failover("y", y=other))) == ["djqueue.E008"] * 2


def test_a_payload_store_in_an_unknown_database(messages):
    message = only(messages({**connections(), "PAYLOADS": {"DATABASE": "defalt"}}))
    assert message.id == "djqueue.E007"
    assert message.msg.startswith('DJQUEUE["PAYLOADS"]["DATABASE"] is "defalt"')


def test_a_payload_store_in_an_unknown_storage(messages):
    message = only(messages({**connections(), "PAYLOADS": {"STORAGE": "defualt"}}))
    assert message.id == "djqueue.E018"
    assert message.hint.startswith('Did you mean "default"? Name one of: default, staticfiles;')


@pytest.mark.parametrize("alias", ["default", "staticfiles"])
def test_a_payload_store_that_is_probably_public(ids, alias):
    assert ids({**connections(), "PAYLOADS": {"STORAGE": alias}}) == ["djqueue.W017"]


def test_a_private_storage_is_fine(ids, settings):
    settings.STORAGES = {**settings.STORAGES, "jobs": settings.STORAGES["default"]}
    assert ids({**connections(), "PAYLOADS": {"STORAGE": "jobs"}}) == []


def test_nowhere_to_move_large_arguments_to(ids):
    change = connections(x={"DRIVER": "null", "STORE_ABOVE": 1000})
    assert ids(change) == []
    assert ids({**change, "PAYLOADS": None}) == ["djqueue.E019"]


def test_a_route_for_a_job_that_there_is_not(messages):
    routes = {"app.recrod": {"queue": "slow"}, "app.record": {"queue": "slow"}, "nothing.*": {}}
    message = only(messages({**connections(), "ROUTES": routes}))
    assert message.id == "djqueue.W018"
    assert 'Did you mean "app.record"?' in message.hint


@pytest.mark.parametrize("error", [ValueError("cast 'S3cretPW'"), KeyError("S3cretPW")])
def test_a_driver_whose_own_check_fails_is_told_without_its_words(messages, monkeypatch, error):
    from djqueue.drivers.local import NullDriver

    def check(settings):
        raise error

    monkeypatch.setattr(NullDriver, "check", check)
    message = only(messages(connections()))
    assert message.id == "djqueue.E003"
    assert "could not be checked" in message.msg
    assert "S3cretPW" not in f"{message.msg} {message.hint}"


def test_guard_rows_cannot_be_switched_off_and_the_hint_says_why(messages):
    message = only(messages(connections(x={"DRIVER": "null", "GUARD": False})))
    assert message.id == "djqueue.E002"
    assert "guard rows are always kept" in message.hint
