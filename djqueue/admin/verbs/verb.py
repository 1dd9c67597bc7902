"""`Verb`, something that operators do to rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from django.contrib import admin

if TYPE_CHECKING:
    from django import forms
    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse

    from djqueue.admin.lists.selection import Selection
    from djqueue.admin.outcome import Wording
    from djqueue.compat import LazyText
    from djqueue.operations.results import Reason, Result

__all__ = ["Action", "Verb", "action_of"]


class Action(NamedTuple):
    """How the menu of a list offers a verb."""

    name: str
    label: LazyText


@dataclass(frozen=True)
class Verb:
    """Something that operators do to rows."""

    name: str
    label: LazyText
    """On the button of a row's page."""
    permissions: tuple[str, ...]
    """All of them are needed."""
    apply: Callable[[Selection], Result]
    wording: Wording
    flag: int
    """As in the admin's log."""
    offered: Callable[[Any], bool] = lambda row: True
    """Whether a row's page has the button, given the row."""
    question: LazyText | None = None
    """What to know before it is done."""
    form: Callable[..., forms.Form] | None = None
    """What is asked before it is done. Its values are in `Selection.values`."""
    action: Action | None = None
    """How a list offers it; None: only the page of a row does."""
    destructive: bool = False
    """It cannot be undone: asked about always, not only for all rows."""
    primary: bool = False
    """It is what most operators come for: its button stands out."""
    compares: bool = False
    """It is for the very attempts that the operator saw."""
    for_all: bool = False
    """The list has a button that does it to everything that matches."""
    commits: bool = False
    """It commits by itself, since a store is changed in between: a transaction around it would undo
    what is on record about that; see `commits_alone`.
    """
    once: bool = False
    """Done again, it has its effect again: never in steps, of which a crash may repeat one."""
    lasting: Reason | None = None
    """Rows that are left for this reason may still be changed later: they are logged as well."""

    @property
    def asks(self) -> bool:
        """Return whether selected rows need a confirmation."""
        return self.destructive or self.question is not None or self.form is not None

    @property
    def in_steps(self) -> bool:
        """Return whether it can be done to any number of rows, step by step."""
        alone = self.compares or self.once or self.lasting is not None
        return self.action is not None and not alone

    def commits_alone(self, selection: Selection) -> bool:
        """Return whether it commits by itself what it does to these rows."""
        return self.commits or selection.connection is not None

    def allowed(self, request: HttpRequest) -> bool:
        """Return whether the user may do it."""
        return request.user.has_perms(self.permissions)

    def answers(self, request: HttpRequest) -> forms.Form | None:
        """Return the verb's form, with what the operator has filled in, if anything; None for a
        verb that asks for no values.
        """
        if self.form is None:
            return None
        return self.form(request.POST) if "confirmed" in request.POST else self.form()


def action_of(verb: Verb) -> Callable[..., HttpResponse | None]:
    """Return the function that a list's menu calls for `verb`."""
    assert verb.action is not None  # noqa: S101 - the caller has chosen those with one

    @admin.action(description=verb.action.label, permissions=[verb.action.name])
    def act(self: Any, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        response: HttpResponse | None = self.run(request, queryset, verb)
        return response

    act.__name__ = verb.action.name
    return act
