"""What verbs ask for before they act: where to, when, how fast."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from djqueue.conf import settings
from djqueue.management.options import pace, seconds_ahead

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ChangeForm", "MoveForm", "SpreadForm"]


class MoveForm(forms.Form):
    """Another queue, another connection, or both."""

    queue = forms.CharField(
        label=_("Queue"), max_length=80, required=False, help_text=_("Empty: as it is.")
    )
    connection = forms.ChoiceField(label=_("Connection"), required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = [(name, name) for name in settings().connections]
        self.fields["connection"].choices = [("", gettext("as it is")), *names]  # type: ignore[attr-defined]  # it is a ChoiceField

    def clean(self) -> dict[str, Any]:
        """Refuse an answer that would move nothing."""
        return _some(super().clean() or {}, gettext("Name a queue, a connection, or both."))


class ChangeForm(forms.Form):
    """Another priority, another time, or both."""

    priority = forms.IntegerField(
        label=_("Priority"),
        min_value=-100,
        max_value=100,
        required=False,
        help_text=_("-100 to 100; larger ones run first. Empty: as it is."),
    )
    due = forms.CharField(
        label=_("Run"),
        max_length=40,
        required=False,
        help_text=_("now, in 30m or 2h, or at 2026-11-26 18:00. Empty: when it would."),
    )

    def clean_due(self) -> float | None:
        """Return the seconds from now; None for an empty answer."""
        given = self.cleaned_data["due"].strip().removeprefix("in ").removeprefix("at ")
        return _read(seconds_ahead, given) if given else None

    def clean(self) -> dict[str, Any]:
        """Refuse an answer that would change nothing."""
        return _some(super().clean() or {}, gettext("Give a priority, a time, or both."))


class SpreadForm(forms.Form):
    """How fast jobs come back to their queues."""

    pace = forms.CharField(
        label=_("Pace"),
        max_length=20,
        initial="10/s",
        help_text=_("10/s, 100/m or 600/h; or 10m, over which all of them are spread."),
    )

    def clean_pace(self) -> float:
        """Return the seconds between two jobs; for a time over which all are spread, minus that."""
        return _read(pace, self.cleaned_data["pace"])


def _read(parse: Callable[[str], float], given: str) -> float:
    try:
        return parse(given)
    except argparse.ArgumentTypeError as error:
        raise forms.ValidationError(str(error)) from None


def _some(values: dict[str, Any], otherwise: str) -> dict[str, Any]:
    """Return the values; raise `ValidationError` if all are empty."""
    if all(value in (None, "") for value in values.values()):
        raise forms.ValidationError(otherwise)
    return values
