"""Secrets in values that were edited: which mask means which, and which are refused."""

from __future__ import annotations

import pytest

from djqueue.admin.editing.secrets import StillHiddenError, unmasked

M = "********"
A = {"sku": "A", "password": "secret-a"}
B = {"sku": "B", "password": "secret-b"}
SHOWN_A, SHOWN_B = {**A, "password": M}, {**B, "password": M}
LOOK_ALIKE = [{"password": "1"}, {"password": "2"}]


@pytest.mark.parametrize(
    ("stored", "given", "then"),
    [
        ([A, B], [SHOWN_B], [B]),
        ([A, B], [SHOWN_B, SHOWN_A], [B, A]),
        ([A, B], [{"sku": "new"}, SHOWN_A, SHOWN_B], [{"sku": "new"}, A, B]),
        ([A, B], [SHOWN_A, {"sku": "B", "password": "other"}], [A, {**B, "password": "other"}]),
        ([A, A], [SHOWN_A], [A]),
        ([*LOOK_ALIKE, "x"], [{"password": M}, {"password": M}, "y"], [*LOOK_ALIKE, "y"]),
        (["--password", "s", "--host", "a"], ["--password", M, "--host", "b"],
         ["--password", "s", "--host", "b"]),
        ({"url": "a", "password": "s"}, {"url": "b", "password": M}, {"url": "b", "password": "s"}),
        ({"a": A, "n": 1}, {"n": 2, "a": {"sku": "C", "password": M}},
         {"n": 2, "a": {"sku": "C", "password": "secret-a"}}),
        ({"n": 1, "password": "s"}, {"n": True, "password": M}, {"n": True, "password": "s"}),
        ({"note": f"{M} x"}, {"note": f"{M} y"}, {"note": f"{M} y"}),
        ({"note": M, "password": "s", "n": 1}, {"note": M, "password": M, "n": 2},
         {"note": M, "password": "s", "n": 2}),
    ],
)  # fmt: skip
def test_a_mask_stands_for_the_secret_that_it_hides(stored, given, then):
    found = unmasked(given, stored)
    assert (found, str(found)) == (then, str(then))


@pytest.mark.parametrize(
    ("stored", "given"),
    [
        ([A, B], [{"sku": "C", "password": M}]),
        ([A, B], [SHOWN_A, {"sku": "C", "password": M}]),
        (LOOK_ALIKE, [{"password": M}]),
        (LOOK_ALIKE, [{"password": M}] * 3),
        (["--password", "a", "--token", "b"], ["--token", M, "--password", M]),
        (["--password", "s", "x"], ["x", "--password", M]),
        (["Authorization", "s"], ["X-Comment", M]),
        ({"name": "password", "value": "s"}, {"name": "comment", "value": M}),
        ({"a": A, "b": B}, {"a": SHOWN_B}),
        ({"a": A, "b": B}, {"a": SHOWN_B, "b": SHOWN_A}),
        ({"note": M, "password": "s"}, {"note": M, "moved": M}),
        ({"note": "a"}, {"note": M}),
        ("postgresql://me:s@a/b", f"postgresql://{M}@c/b"),
    ],
)
def test_a_mask_that_may_mean_another_secret_is_refused(stored, given):
    with pytest.raises(StillHiddenError):
        unmasked(given, stored)
