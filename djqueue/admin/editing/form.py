"""The form of all arguments of a failed job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext

from djqueue.admin.editing.fields import AS_IT_WAS, Argument, field_of
from djqueue.errors import PayloadError
from djqueue.operations.verbs.editing import Edited, Stored, with_stored
from djqueue.text.masking import masked_text
from djqueue.text.printable import one_line

if TYPE_CHECKING:
    from djqueue.models import FailedJob

__all__ = ["PREFIX", "ArgumentsForm"]

PREFIX = "argument"


class ArgumentsForm(forms.Form):
    """A field for each argument. If it is valid, `edited` is what comes of it."""

    edited: Edited | None = None

    def __init__(self, row: FailedJob, read: Stored, data: Any = None) -> None:
        super().__init__(data, prefix=PREFIX)
        self._row, self._read = row, read
        self.too_long: list[str] = []
        """Arguments that have no field: their values are too long for one."""
        for name, annotation in read.annotations.items():
            there = name in read.arguments
            argument = Argument(read.spec, name, annotation, read.arguments.get(name), there)
            field = field_of(argument)
            if field is None:
                self.too_long.append(name)
            else:
                self.fields[name] = field

    @property
    def dropped(self) -> list[str]:
        """Return the arguments in the payload that the code does not take any more."""
        return [
            one_line(name) for name in self._read.arguments if name not in self._read.annotations
        ]

    def clean(self) -> dict[str, Any]:
        """Refuse arguments that the code does not take together, and those that are as before."""
        found = {name: each for name, each in self.cleaned_data.items() if each is not AS_IT_WAS}
        if not self.errors:
            try:
                self.edited = with_stored(self._row, self._read, found)
            except PayloadError as error:
                raise ValidationError(masked_text(str(error))) from None
            if not self.edited.changes:
                words = gettext("Nothing is different. “Retry” retries it as it is.")
                raise ValidationError(words)
        return found
