"""The form field of one argument, by its annotation. Each cleans to the JSON value that a payload
has for it.
"""

from __future__ import annotations

import enum
import json
import uuid
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from django import forms
from django.core.exceptions import ValidationError
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Model
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from djqueue import arguments
from djqueue.admin.editing.plain import in_plain_json, written
from djqueue.admin.editing.secrets import StillHiddenError, unmasked
from djqueue.arguments.annotations import allows_none, alternatives, is_class, literals
from djqueue.errors import NotSerializable, PayloadError
from djqueue.management.typed import UnfitError, value_of
from djqueue.text import printable
from djqueue.text.masking import is_secret, masked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from djqueue.jobs.definition.spec import JobSpec

__all__ = ["AS_IT_WAS", "LONGEST", "Argument", "field_of"]

AS_IT_WAS = object()
"""What a field cleans to that nothing was typed into."""

LONGEST = 64 * 1024
"""Characters of a value that a form has. Longer ones stay as they are."""
_TALL = 80
"""Characters from which on a text has several lines."""
_ISO: Mapping[type, str] = {
    datetime: "2026-11-26T18:00:00+09:00",
    time: "18:00:00",
    timedelta: "0:05:00",
}


class Argument(NamedTuple):
    """An argument of a failed job."""

    spec: JobSpec
    name: str
    annotation: Any
    stored: Any
    """The JSON value in the payload; None if it has none."""
    there: bool
    """The payload has it."""

    @property
    def optional(self) -> bool:
        """Return whether it may be None."""
        return allows_none(self.annotation)

    @property
    def leaf(self) -> Any:
        """Return the only class that the annotation allows beside None; None if there are
        several.
        """
        found = alternatives(self.annotation)
        return found[0] if len(found) == 1 and is_class(found[0]) else None

    def decoded(self) -> Any:
        """Return the stored value. Raises `PayloadError`."""
        where = f'{self.spec.name}: argument "{self.name}"'
        return arguments.compile(self.annotation).decode(self.stored, where)

    def encoded(self, value: Any) -> Any:
        """Return the JSON value of `value`. Raises `ValidationError`."""
        try:
            return self.spec.encode_argument(self.name, value)
        except NotSerializable as error:
            raise ValidationError(str(error)) from None

    def typed(self, text: str) -> Any:
        """Return the JSON value of what was typed. Raises `ValidationError`."""
        try:
            return self.encoded(value_of(text, self.annotation))
        except UnfitError as error:
            raise ValidationError(f"It {error}.") from None


def field_of(argument: Argument) -> forms.Field | None:
    """Return the field of an argument; None for a value that is too long for a form."""
    if is_secret(argument.name):
        return _Hidden(argument)
    if len(json.dumps(argument.stored)) > LONGEST:
        return None
    known = literals(argument.annotation)
    if argument.leaf is bool or known or _is_enum(argument.leaf):
        return _chosen(argument, known)
    if argument.leaf is str and (made := _text(argument)):
        return made
    scalar = _scalar(argument)
    return scalar if scalar is not None else _json(argument)


class _Field(forms.Field):
    """What all fields have in common. One that is left as it was is not cleaned at all."""

    def __init__(self, argument: Argument, initial: Any = None, **more: Any) -> None:
        # None where that is allowed; else as an argument that the payload lacks.
        required = not argument.there and argument.name in argument.spec.job_class._required()
        more = {"required": required, "label": argument.name, "initial": initial, **more}
        super().__init__(**more)
        self.argument = argument

    def clean(self, value: Any) -> Any:
        """Return the JSON value, or `AS_IT_WAS`."""
        if not self.has_changed(self.initial, value):
            if self.required:
                raise ValidationError(self.error_messages["required"], code="required")
            return AS_IT_WAS
        return self.changed(value)

    def changed(self, value: Any) -> Any:
        """Return the JSON value of what a browser has sent."""
        self.run_validators(value or "")
        return self.read(value or "")

    def read(self, text: str) -> Any:
        """Return the JSON value of what was typed."""
        return self.argument.typed(text)


class _Typed(_Field):
    """A value of a class with a field of Django's, which refuses what does not fit in the language
    of the request.
    """

    def __init__(self, argument: Argument, inner: forms.Field, initial: Any, **more: Any) -> None:
        hint = _("Empty: None.") if argument.optional else ""
        super().__init__(argument, initial, widget=inner.widget, **{"help_text": hint, **more})
        self.inner = inner
        inner.required = not argument.optional

    def changed(self, value: Any) -> Any:
        """Return the JSON value."""
        found = self.inner.clean(value)
        if found in (None, ""):
            return None
        return self.read(found) if isinstance(found, str) else self.argument.encoded(found)

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Compare values, not texts."""
        return self.inner.has_changed(initial, data)

    def prepare_value(self, value: Any) -> Any:
        """Return what the page shows."""
        return self.inner.prepare_value(value)


class _Choice(_Field, forms.ChoiceField):
    """One of a few values. The page has their places in the list, not the values."""

    def __init__(self, argument: Argument, values: list[tuple[str, Any]]) -> None:
        self.values = [argument.encoded(value) for _label, value in values]
        kept = written(argument.stored)
        at = [str(n) for n, each in enumerate(self.values) if written(each) == kept]
        labels = [(str(n), label) for n, (label, _value) in enumerate(values)]
        if (
            not at or not argument.there
        ):  # no value of today's code: it stays unless another is chosen
            labels.insert(0, ("", gettext("as it is")))
        initial = at[0] if at and argument.there else ""
        super().__init__(argument, initial, choices=labels)

    def changed(self, value: Any) -> Any:
        """Return the JSON value."""
        self.validate(value)
        if not value:  # no browser sends that
            raise ValidationError(self.error_messages["required"], code="required")
        return self.values[int(value)]


class _Text(_Field, forms.CharField):
    """A text, exactly as it is typed."""

    def read(self, text: str) -> Any:
        """Return the text, with lines that end as Python's do."""
        text = text.replace("\r\n", "\n")
        try:
            return self.argument.encoded(unmasked(text, self.argument.stored))
        except StillHiddenError:
            raise ValidationError(_STILL_HIDDEN) from None

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Compare as `read` reads: browsers send other ends of lines."""
        return (data or "").replace("\r\n", "\n") != (initial or "")


class _TextOrNone(_Field):
    """A text, or None if the box beside it is ticked."""

    def __init__(self, argument: Argument, inner: _Text) -> None:
        tick = forms.CheckboxInput(attrs={"aria-label": "None"})
        widget = _Two([inner.widget, tick])
        initial = [inner.initial, argument.stored is None]
        super().__init__(argument, initial, widget=widget, help_text=_("Tick the box for None."))
        self.inner = inner

    def changed(self, value: Any) -> Any:
        """Return the JSON value."""
        return None if value[1] else self.inner.changed(value[0])

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Compare the box; where it is not ticked, the text too."""
        if bool(initial[1]) != bool(data[1]):
            return True
        return not data[1] and self.inner.has_changed(initial[0], data[0])


class _Two(forms.MultiWidget):
    """A text and a box."""

    def decompress(self, value: Any) -> list[Any]:
        """Return both values, of a field without any."""
        return ["", True] if value is None else list(value)


class _Key(_Field, forms.CharField):
    """A model instance, by its primary key."""

    def read(self, text: str) -> Any:
        """Return the reference, to a row that is there."""
        if not text and self.argument.optional:
            return None
        model, stored = self.argument.leaf, self.argument.stored
        alias = str(stored.get("db")) if isinstance(stored, dict) else ""
        rows = model._base_manager.using(alias if alias in connections else DEFAULT_DB_ALIAS)
        try:
            return self.argument.encoded(rows.get(pk=text))
        except (model.DoesNotExist, ValidationError, ValueError, TypeError, OverflowError):
            words = gettext("There is no %(model)s with the key %(key)s.")
            raise ValidationError(words % {"model": model._meta.label, "key": text}) from None


class _Json(_Field, forms.CharField):
    """Anything else, as JSON: as `queue_retry --set` takes it, or as payloads have it."""

    def __init__(self, argument: Argument, *, tagged: bool, initial: str) -> None:
        kind = _("As the payload has it, in JSON.") if tagged else _("JSON.")
        rows = min(max(initial.count("\n") + 1, 3), 20)
        widget = forms.Textarea(attrs={"rows": rows, "dir": "ltr"})
        super().__init__(argument, initial, widget=widget, strip=False, help_text=kind)
        self._tagged = tagged

    def read(self, text: str) -> Any:
        """Return the JSON value."""
        if not self._tagged:
            return self.argument.typed(text)
        try:
            given = unmasked(json.loads(text, parse_constant=_refuse), self.argument.stored)
            self.argument._replace(stored=given).decoded()
        except StillHiddenError:
            raise ValidationError(_STILL_HIDDEN) from None
        except PayloadError as error:
            raise ValidationError(str(error)) from None
        except (ValueError, RecursionError) as error:
            raise ValidationError(gettext("It is no JSON: %(why)s") % {"why": error}) from None
        return given

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Compare as `_Text` does."""
        return (data or "").replace("\r\n", "\n") != (initial or "")


class _Hidden(_Field, forms.CharField):
    """A secret. Nothing of it is shown, and it stays unless something is typed."""

    def __init__(self, argument: Argument) -> None:
        hint = _("Hidden. Empty: as it is.") if argument.there else _("It is not shown again.")
        widget = forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"})
        super().__init__(argument, "", widget=widget, strip=False, help_text=hint)


_STILL_HIDDEN = _(
    "A part of it is hidden, so it can only stay where it was, and in a list with all that is"
    " beside it: write the whole value, or leave the hidden part as it is."
)


# -- which one -------------------------------------------------------------------------------------


def _is_enum(leaf: Any) -> bool:
    return isinstance(leaf, type) and issubclass(leaf, enum.Enum)


def _chosen(argument: Argument, known: list[Any]) -> forms.Field:
    if known:
        values = [(str(each.name if isinstance(each, enum.Enum) else each), each) for each in known]
    elif argument.leaf is bool:
        values = [(gettext("yes"), True), (gettext("no"), False)]
    else:
        values = [(each.name, each) for each in argument.leaf]
    if argument.optional:
        values.append(("None", None))
    return _Choice(argument, values)


def _text(argument: Argument) -> forms.Field | None:
    """Return the field of a text; None where only JSON can show it."""
    stored = "" if argument.stored is None else argument.stored
    if not isinstance(stored, str) or printable.lines(stored) != stored:
        return None
    shown = masked(stored)
    tall = "\n" in shown or len(shown) > _TALL
    widget: Any = forms.Textarea(attrs={"rows": 4, "dir": "auto"}) if tall else forms.TextInput
    field = _Text(argument, shown, widget=widget, strip=False)
    return _TextOrNone(argument, field) if argument.optional else field


def _scalar(argument: Argument) -> forms.Field | None:
    """Return the field of a number, a date and the like; None for anything else."""
    leaf, value = argument.leaf, None
    if leaf is None:
        return None
    if issubclass(leaf, Model):
        return _key(argument)
    if argument.there and argument.stored is not None:
        try:
            value = argument.decoded()
        except PayloadError:
            return None
        if type(value) is not leaf:  # a number that is annotated as a float, and is an int
            return None
    number = forms.NumberInput(attrs={"step": "any"})
    inner: dict[type, forms.Field] = {
        int: forms.IntegerField(),
        float: forms.FloatField(widget=number),
        Decimal: forms.DecimalField(widget=number),
        uuid.UUID: forms.UUIDField(),
        date: forms.DateField(
            input_formats=["%Y-%m-%d"], widget=forms.DateInput(format="%Y-%m-%d", attrs=_DATE)
        ),
    }
    if leaf in inner:
        return _Typed(argument, inner[leaf], value)
    if leaf not in _ISO:
        return None
    shown = "" if value is None else str(value) if leaf is timedelta else value.isoformat()
    if shown and written(argument.typed(shown)) != written(argument.stored):
        return None  # a zone that has a name, which this form would lose
    hint = gettext("As in %(example)s.") % {"example": _ISO[leaf]}
    return _Typed(argument, forms.CharField(), shown, help_text=hint)


_DATE = {"type": "date"}


def _key(argument: Argument) -> forms.Field | None:
    stored, label = argument.stored, argument.leaf._meta.label
    key = stored.get("k") if isinstance(stored, dict) and stored.get("$") == "model" else ""
    if not isinstance(key, (str, int)) or (stored is not None and key == ""):
        return None
    hint = gettext("%(model)s, by its primary key.") % {"model": label}
    return _Key(argument, str(key), help_text=hint)


def _json(argument: Argument) -> forms.Field:
    stored, plain = argument.stored, ""
    if argument.there:
        hidden = written(masked(stored)) != written(stored)
        found = None if hidden else in_plain_json(argument.spec, *argument[1:4])
        if found is None:
            shown = printable.json_safe(written(masked(stored)))
            return _Json(argument, tagged=True, initial=shown)
        plain = printable.json_safe(found)
    return _Json(argument, tagged=False, initial=plain)


def _refuse(name: str) -> Any:
    raise ValueError(name)
