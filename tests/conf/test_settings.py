"""What `djqueue.conf.settings` makes of the DJQUEUE setting."""

from __future__ import annotations

import dataclasses

import pytest
from django.conf import settings as django_settings
from django.test import override_settings

from djqueue.conf import (
    ConnectionSettings,
    PayloadSettings,
    ResultSettings,
    Route,
    did_you_mean,
    read,
    settings,
)
from djqueue.conf.kinds import FLAG, SECONDS, Option
from djqueue.errors import ConfigurationError, UnknownConnection


def test_without_the_setting_there_are_three_connections():
    ours = read(None)
    assert list(ours.connections) == ["database", "sync", "null"]
    assert ours.connection() == ConnectionSettings("database", "database")
    assert ours.connection().database == "default"
    assert ours.problems == ()


def test_every_default_is_what_the_reference_says():
    ours = read({})
    assert ours.after_commit is True
    assert (ours.failed_jobs, ours.batches) == ("default", "default")
    assert ours.results == ResultSettings("default", 86400)
    assert ours.unknown_job_grace == 600
    assert ours.prune_failed_jobs is None
    assert ours.mask == ((), ())
    connection = ours.connection()
    assert (connection.queue, connection.retry_after, connection.after_commit) == (
        "default",
        90,
        None,
    )


def test_every_key_of_the_reference_is_read():
    ours = read(
        {
            "DEFAULT": "main",
            "CONNECTIONS": {
                "main": {
                    "DRIVER": "database",
                    "DATABASE": "queue",
                    "QUEUE": "mail",
                    "RETRY_AFTER": 30,
                    "AFTER_COMMIT": False,
                    "WAL": False,
                },
            },
            "AFTER_COMMIT": False,
            "FAILED_JOBS": None,
            "BATCHES": {"DATABASE": "queue"},
            "RESULTS": {"DATABASE": "queue", "KEEP_FOR": 60},
            "ROUTES": {"reports.*": {"queue": "slow"}},
            "UNKNOWN_JOB_GRACE": 0,
            "PRUNE_AFTER": {"FAILED_JOBS": 10},
            "MASK": {"add": ["Customer"], "remove": ["max_tokens"]},
        }
    )
    assert ours.problems == ()
    main = ours.connection()
    assert (main.queue, main.retry_after, main.after_commit) == ("mail", 30.0, False)
    assert main.database == "queue"
    assert main.options == {"DATABASE": "queue", "WAL": False}
    assert ours.after_commit is False
    assert ours.failed_jobs is None
    assert (ours.batches, ours.results) == ("queue", ResultSettings("queue", 60))
    assert (ours.unknown_job_grace, ours.prune_failed_jobs) == (0, 10)
    assert ours.mask == (("customer",), ("max_tokens",))


def test_what_shares_transactions_is_in_one_database():
    ours = read({"FAILED_JOBS": {"DATABASE": "queue"}})
    assert (ours.failed_jobs, ours.batches, ours.results.database) == ("queue",) * 3
    ours = read({"FAILED_JOBS": None, "RESULTS": {"DATABASE": "queue"}})
    assert (ours.failed_jobs, ours.batches, ours.results.database) == (None, "queue", "queue")
    assert ours.problems == ()
    assert read({"RESULTS": None}).results is None
    (problem,) = read({"BATCHES": {"DATABASE": "one"}, "RESULTS": {"DATABASE": "two"}}).problems
    assert problem.id == "djqueue.E027"
    assert "BATCHES in 'one', RESULTS in 'two'" in problem.message


def test_settings_follow_override_settings_and_are_cached_in_between():
    before = settings()
    assert settings() is before
    with override_settings(DJQUEUE={"DEFAULT": "null"}):
        assert settings().default == "null"
    assert settings() == before


def test_settings_follow_a_deleted_setting():
    with override_settings(DJQUEUE={"DEFAULT": "null"}):
        with override_settings():
            del django_settings.DJQUEUE
        assert settings().default == "null"
    assert settings().default == "database"


def test_nothing_can_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings().default = "x"
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings().connection().queue = "x"


def test_an_unknown_connection_is_told_with_the_known_ones_and_the_nearest():
    with pytest.raises(UnknownConnection) as caught:
        settings().connection("databse")
    assert str(caught.value) == (
        'Unknown queue connection "databse". DJQUEUE["CONNECTIONS"] defines: database, sync, null. '
        'Did you mean "database"?'
    )


def test_a_wrong_value_is_refused_where_its_connection_is_used_and_nowhere_else():
    ours = read(
        {
            "DEFAULT": "good",
            "CONNECTIONS": {
                "good": {"DRIVER": "null"},
                "bad": {"DRIVER": "null", "RETRY_AFTER": "90"},
            },
        }
    )
    assert ours.connection().name == "good"
    with pytest.raises(ConfigurationError, match=r"\"RETRY_AFTER\"\] is '90', not a number of sec"):
        ours.connection("bad")


def test_a_wrong_value_beside_the_connections_is_refused_at_any_use():
    with pytest.raises(ConfigurationError, match=r'DJQUEUE\["AFTER_COMMIT"\] is'):
        read({"AFTER_COMMIT": "yes"}).connection()


def test_an_unknown_key_stops_nothing_at_run_time():
    ours = read({"DEFALT": "null"})
    assert ours.connection().name == "database"
    assert [problem.id for problem in ours.problems] == ["djqueue.E002"]


@pytest.mark.parametrize("raw", [[], "database", 3, {"CONNECTIONS": ["database"]}])
def test_what_is_no_dict_is_a_problem_and_no_traceback(raw):
    ours = read(raw)
    assert [problem.id for problem in ours.problems] == ["djqueue.E001"]
    with pytest.raises(ConfigurationError, match="not a dict"):
        ours.connection()


def test_a_key_that_nothing_reads_any_more_is_unknown_and_says_why():
    (problem,) = read({"GUARD": ["hush"]}).problems
    assert problem.id == "djqueue.E002"
    assert "guard rows are always kept" in problem.hint
    assert "hush" not in repr(problem)


def test_passwords_are_not_shown_by_repr():
    right = read({"CONNECTIONS": {"redis": {"DRIVER": "redis", "URL": "redis://:hush@host"}}})
    assert right.problems == ()
    assert "hush" not in repr(right)


def test_an_option_is_the_projects_else_the_drivers_default():
    connection = ConnectionSettings("redis", "redis", options={"BLOCK_FOR": None})
    connection = connection.with_defaults(
        {"BLOCK_FOR": Option(5, SECONDS), "CLUSTER": Option(False, FLAG)}
    )
    assert connection.option("BLOCK_FOR") is None
    assert connection.option("CLUSTER") is False
    with pytest.raises(KeyError):
        connection.option("URL")


def test_an_exact_route_beats_patterns_and_the_first_pattern_wins():
    ours = read(
        {
            "ROUTES": {
                "shop.*": {"queue": "shop"},
                "shop.Send*": {"queue": "never"},
                "shop.SendReceipt": {"connection": "null"},
            }
        }
    )
    assert ours.route("shop.SendReceipt") == Route(connection="null")
    assert ours.route("shop.SendInvoice") == Route(queue="shop")
    assert ours.route("Shop.SendInvoice") == Route()


def test_databases_begins_with_the_default_connections():
    ours = read(
        {
            "DEFAULT": "second",
            "CONNECTIONS": {
                "first": {"DRIVER": "database"},
                "second": {"DRIVER": "database", "DATABASE": "queue"},
                "third": {"DRIVER": "null"},
            },
            "RESULTS": {"DATABASE": "other"},
        }
    )
    assert ours.databases == ("queue", "default", "other")
    assert ours.job_database == "queue"


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        ("retry_after", ' Did you mean "RETRY_AFTER"?'),
        ("RETRY_AFETR", ' Did you mean "RETRY_AFTER"?'),
        ("zzz", ""),
        (3, ""),
    ],
)
def test_did_you_mean(word, answer):
    assert did_you_mean(word, ["RETRY_AFTER", "QUEUE"]) == answer


def test_the_payload_store_is_beside_the_jobs_unless_it_is_said_where():
    assert read(None).payload_database == "default"
    jobs = {"CONNECTIONS": {"database": {"DRIVER": "database", "DATABASE": "queue"}}}
    assert read(jobs).payload_database == "queue"
    ours = read({**jobs, "PAYLOADS": {"DATABASE": "other", "STORAGE": "jobs", "MAX_SIZE": 10}})
    assert ours.payloads == PayloadSettings("other", "jobs", 10)
    assert (ours.payload_database, "other" in ours.databases) == ("other", True)
    assert read({"PAYLOADS": None}).payloads is None
    assert read({"PAYLOADS": {}}).payloads == PayloadSettings(None, None, 64 * 1024 * 1024)


def test_sizes_of_a_connection():
    ours = read({"CONNECTIONS": {"database": {"DRIVER": "database"}}}).connection()
    assert (ours.compress_above, ours.store_above) == (4096, None)
    sizes = {"COMPRESS_ABOVE": None, "STORE_ABOVE": 10_000}
    ours = read({"CONNECTIONS": {"database": {"DRIVER": "database", **sizes}}}).connection()
    assert (ours.compress_above, ours.store_above) == (None, 10_000)
    assert dict(ours.options) == {}


def test_whether_jobs_are_in_a_database_is_the_drivers_to_say():
    ours = read(
        {
            "CONNECTIONS": {
                "sqs": {"DRIVER": "sqs", "DATABASE": "queue"},
                "own": {"DRIVER": "djqueue.drivers.database.DatabaseDriver", "DATABASE": "queue"},
                "database": {"DRIVER": "database"},
                "gone": {"DRIVER": "nothing.of.Kind", "DATABASE": "x"},
            }
        }
    )
    kept = {name: each.jobs_in_sql for name, each in ours.connections.items()}
    assert kept == {"sqs": False, "own": True, "database": True, "gone": False}
    assert ours.databases == ("default", "queue", "x")


@pytest.mark.parametrize("keys", ["hush", ["hush"], ["A" * 43 + "=", "hush"], [b"hush"], 5, ["ü"]])
def test_an_encryption_key_that_is_none_is_refused_without_showing_it(keys):
    (problem,) = read({"ENCRYPTION_KEYS": keys}).problems
    assert "generate_key" in problem.hint
    assert "hush" not in problem.message + problem.hint


def test_encryption_keys_are_kept_in_order():
    keys = ["A" * 43 + "=", "B" * 43 + "="]
    assert read({"ENCRYPTION_KEYS": keys}).encryption_keys == tuple(keys)
