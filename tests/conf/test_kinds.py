"""What each kind of option takes, and the words for what it does not take."""

from __future__ import annotations

import pytest

from djqueue.conf.kinds import (
    BYTES,
    DURATION,
    FLAG,
    LONGEST,
    SECONDS,
    TEXT,
    TEXTS,
    Kind,
    Option,
    choice,
    mistakes,
    or_none,
    unknown,
    whole,
)


@pytest.mark.parametrize(
    ("kind", "taken", "refused"),
    [
        (TEXT, ["a"], ["", None, 1, b"a"]),
        (FLAG, [True, False], [0, 1, None, "yes"]),
        (SECONDS, [0, 0.5, LONGEST], [-1, True, float("nan"), float("inf"), "1", None]),
        (DURATION, [0.1, LONGEST], [0, -1, LONGEST + 1]),
        (BYTES, [0, 2**40], [-1, True, 1.0]),
        (whole(1, 3), [1, 3], [0, 4, 2.0, True]),
        (choice(0, 1), [0, 1], [2, True, "1", 1.0, None, []]),
        (TEXTS, [[], ["a"], ("a", "b")], ["a", [""], [1], {"a"}]),
        (or_none(FLAG), [None, True], [0, "None"]),
    ],
    ids=lambda value: value.words if isinstance(value, Kind) else "",
)
def test_a_kind_takes_its_values_and_no_others(kind, taken, refused):
    assert [kind.check(value) for value in taken] == [None] * len(taken)
    assert all(map(kind.check, refused))


def test_a_mistake_says_what_and_why_and_what_to_do():
    wrong = Option(90, DURATION).mistake("RETRY_AFTER", "90")
    assert str(wrong) == (
        "RETRY_AFTER is '90', not a number of seconds above 0. "
        "Correct it, or remove it to use the default, 90."
    )
    assert Option(None, TEXT).mistake("URL", 3).remedy == "Correct it, or remove it."


def test_words_that_fit_the_value_replace_the_general_ones():
    assert SECONDS.check(LONGEST + 1) == "at most 2147483647 seconds (68 years)"
    assert TEXTS.check("a") == "a list of texts that are not empty: write ['a']"
    assert or_none(SECONDS).check(LONGEST + 1) == SECONDS.check(LONGEST + 1)


def test_a_value_that_may_be_a_password_is_not_shown():
    secret = Kind("a key", lambda value: value is None, secret=True)
    for kind in (secret, or_none(secret)):
        assert "hush" not in str(Option(None, kind).mistake("KEY", "hush"))


def test_only_values_that_are_given_are_looked_at():
    options = {"A": Option(None, FLAG), "B": Option(None, FLAG), "C": Option(None, FLAG)}
    (wrong,) = mistakes("X", {"A": True, "B": 1}, options)
    assert wrong.what == 'X["B"] is 1, not True or False.'


def test_an_unknown_name_comes_with_the_nearest_or_with_advice():
    assert str(unknown("X", "QEUE", ["QUEUE", "A"], {})) == (
        "X has an unknown key 'QEUE'. Did you mean \"QUEUE\"? Known keys: A, QUEUE."
    )
    assert unknown("X", "eta", ["delay"], {"eta": "Use delay."}, "option") == (
        "X has an unknown option 'eta'.",
        "Use delay. Known options: delay.",
    )
