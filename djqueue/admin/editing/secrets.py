"""Putting secrets back where their masks stand in a value that was edited."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from djqueue.text.masking import MASK, masked

__all__ = ["StillHiddenError", "unmasked"]


class StillHiddenError(Exception):
    """A mask stands where none was, or where it may mean another secret."""


def unmasked(given: Any, stored: Any) -> Any:
    """Return what was `given` with the secrets of `stored` in the places where their masks stand.

    Raises `StillHiddenError` if a mask is left, if one in a list may mean another secret, and if a
    secret would be in a place where it is not masked.
    """
    shown = masked(stored)
    if _same(shown, stored):  # nothing is hidden, so a mask is what was dispatched
        if MASK not in json.dumps(stored):
            _refuse_masks(given)
        return given
    found = _restored(given, shown, stored)
    if not _same(given, shown) and not _same(masked(found), masked(given)):
        raise StillHiddenError
    return found


def _restored(given: Any, shown: Any, stored: Any) -> Any:
    if _same(given, shown):
        return stored
    if isinstance(given, dict) and isinstance(shown, dict):
        _refuse_moves(given, shown, stored)
        return {
            key: _restored(item, shown[key], stored[key]) if key in shown else _new(item)
            for key, item in given.items()
        }
    if isinstance(given, list) and isinstance(shown, list):
        return _restored_list(given, shown, stored)
    return _new(given)


def _refuse_moves(given: dict[str, Any], shown: dict[str, Any], stored: dict[str, Any]) -> None:
    """Refuse an object that had another key: it has that one's mask, and not its own."""
    hidden = {key for key in shown if not _same(shown[key], stored[key])}
    changed = [key for key in given if key in hidden and not _same(given[key], shown[key])]
    others = {_text(shown[key]) for key in hidden}
    for key in changed:
        if _has_mask(given[key]) and (hidden - given.keys() or _text(given[key]) in others):
            raise StillHiddenError


def _restored_list(given: list[Any], shown: list[Any], stored: list[Any]) -> list[Any]:
    """Restore the items that are as they were but for their places. One that differs beside its
    mask may be any of them, or a new one.
    """
    texts = [_text(item) for item in shown]
    now = [_text(item) for item in given]
    found = []
    for at, item in enumerate(given):
        places = [place for place, text in enumerate(texts) if text == now[at]]
        if item == MASK:  # what stands before it says what it is
            places = [at] if now[: at + 1] == texts[: at + 1] and len(now) == len(texts) else []
        found.append(stored[_place(places, at, now, stored)] if places else _new(item))
    return found


def _place(places: Sequence[int], at: int, now: Sequence[str], stored: Sequence[Any]) -> int:
    """Return which of these items, which look alike, the one at the place `at` is."""
    if all(_same(stored[each], stored[places[0]]) for each in places):
        return places[0]
    if now.count(now[at]) != len(places):
        raise StillHiddenError
    return places[now[:at].count(now[at])]


def _new(given: Any) -> Any:
    _refuse_masks(given)
    return given


def _refuse_masks(given: Any) -> None:
    if _has_mask(given):
        raise StillHiddenError


def _has_mask(value: Any) -> bool:
    return MASK in _text(value)


def _same(one: Any, other: Any) -> bool:
    """Return whether two JSON values are the same; 1, 1.0 and True are three."""
    return _text(one) == _text(other)


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
