"""Actions that are carried out at once or after a question, on a list or on the page of one row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.templatetags.admin_urls import add_preserved_filters
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.translation import gettext
from django.views.decorators.http import require_POST

from djqueue.admin import audit
from djqueue.admin.base import ReadOnlyAdmin
from djqueue.admin.job_changes import Picked
from djqueue.admin.outcome import Result, Wording, tell

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.utils.functional import _StrPromise
    from django.utils.safestring import SafeString

SLICE = 500
"""Rows that one transaction of an action holds."""
AT_ONCE = 1_000
"""More rows than this need the permission ``bulk_operations``."""
AT_MOST = 10_000
"""Rows that one request acts on."""
SHOWN = 100
"""Rows that a question names."""


@dataclass(frozen=True)
class Verb:
    """Something that operators do to rows."""

    name: str
    label: _StrPromise
    """On the button of a row's page."""
    permissions: tuple[str, ...]
    """All of them are needed."""
    apply: Callable[[Picked], Result]
    wording: Wording
    flag: int
    """As in the admin's log."""
    offered: Callable[[Any], bool] = lambda row: True
    """Whether a row's page has the button, given the row."""
    question: _StrPromise | None = None
    """What to know before it is done; None: selected rows need no question."""
    destructive: bool = False

    def allowed(self, request: HttpRequest) -> bool:
        """Whether the user may."""
        return request.user.has_perms(self.permissions)


class OperatorAdmin(ReadOnlyAdmin):
    """A screen with actions. Each is checked and logged in one place, `perform`."""

    verbs: ClassVar[Sequence[Verb]] = ()
    bulk_permission = "djqueue.bulk_operations"

    def seen(self, row: Any) -> int:
        """What a form carries about a row, for the statement that changes it to compare with."""
        return 0

    # -- carrying out --------------------------------------------------------------------------

    def perform(self, request: HttpRequest, verb: Verb, picked: Picked) -> Result:
        """Do it in slices, each one transaction with its rows in the log, and report."""
        if not verb.allowed(request):
            raise PermissionDenied
        result = Result()
        for keys in _slices(picked.keys):
            with transaction.atomic(using=audit.log_alias()):
                part = verb.apply(picked._replace(keys=keys))
                audit.record(
                    request,
                    self.model,
                    verb.flag,
                    verb.name,
                    part.changed,
                    len(part.kept),
                    picked.alias,
                )
            result += part
        tell(request, verb.wording, result)
        return result

    def run(self, request: HttpRequest, queryset: QuerySet[Any], verb: Verb) -> Any:
        """An action of the list: at once for selected rows, after a question for "all"."""
        if not verb.allowed(request):
            raise PermissionDenied
        across = forms.BooleanField().to_python(request.POST.get("select_across"))
        picked = self._all_of(request, queryset) if across else self._selected(request)
        if picked is None:
            return None
        if (across or verb.question) and "confirmed" not in request.POST:
            return self._ask(request, verb, picked, across=across)
        return self.perform(request, verb, picked)

    def _selected(self, request: HttpRequest) -> Picked:
        # Not the action's queryset: that has the list's filters, and would hide a row that has
        # changed its state since the page was made.
        keys = map(_number, request.POST.getlist(ACTION_CHECKBOX_NAME))
        kept = sorted({key for key in keys if key is not None})
        return Picked(self.alias(request), kept, _tokens(request))

    def _all_of(self, request: HttpRequest, queryset: QuerySet[Any]) -> Picked | None:
        """Every row the list stands for, up to the newest one there was when it was asked."""
        may_bulk = request.user.has_perm(self.bulk_permission)
        limit = AT_MOST if may_bulk else AT_ONCE
        newest = _number(request.POST.get("newest", ""))
        rows = queryset if newest is None else queryset.filter(pk__lte=newest)
        keys = list(rows.order_by("pk").values_list("pk", flat=True)[: limit + 1])
        if len(keys) > limit and not may_bulk:
            text = gettext(
                "Nothing was changed: more than %(limit)d rows match, and your account may act on"
                " %(limit)d at once. Narrow the list with a filter or the search."
            )
            self.message_user(request, text % {"limit": limit}, messages.ERROR)
            return None
        return Picked(self.alias(request), keys[:limit], {})

    # -- asking --------------------------------------------------------------------------------

    def _ask(
        self,
        request: HttpRequest,
        verb: Verb,
        picked: Picked,
        *,
        across: bool = False,
        on_page: bool = False,
    ) -> TemplateResponse:
        """The page that says what would happen, and to what."""
        rows = self.get_queryset(request).defer(*self.heavy_columns)
        named = list(rows.filter(pk__in=picked.keys[:SHOWN]).order_by("pk"))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": verb.label,
            "question": verb.question or "",
            "verb": verb,
            "wording": verb.wording,
            "rows": [(row, self.summary(row), f"{row.pk}:{self.seen(row)}") for row in named],
            "count": len(picked.keys),
            "unnamed": max(0, len(picked.keys) - SHOWN),
            "across": across,
            "keys": picked.keys[:1] if across else picked.keys,
            "newest": max(picked.keys, default=0),
            "action": request.POST.get("action", ""),
            "checkbox": ACTION_CHECKBOX_NAME,
            "back": self._where_now(request, picked.keys[0] if on_page else -1),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/djqueue/confirm.html", context)

    def summary(self, row: Any) -> SafeString | str:
        """How a question describes a row, beside its name."""
        return ""

    def action_checkbox(self, obj: Any) -> SafeString:
        """Django's check box, and what this page shows of the row for the action to compare."""
        box = super().action_checkbox(obj)
        return format_html(
            '{}<input type="hidden" name="seen" value="{}:{}">', box, obj.pk, self.seen(obj)
        )

    # -- the page of one row -------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        """Django's, and one that carries out a verb on one row."""
        name = f"{self.opts.app_label}_{self.opts.model_name}_act"
        view = self.admin_site.admin_view(self.act_view)
        return [path("<int:pk>/act/<str:verb>/", view, name=name), *super().get_urls()]

    @method_decorator(require_POST)
    def act_view(self, request: HttpRequest, pk: int, verb: str) -> HttpResponse:
        """A button of a row's page."""
        found = next((each for each in self.verbs if each.name == verb), None)
        if found is None or _number(str(pk)) is None:
            raise Http404
        if not (self.has_view_permission(request) and found.allowed(request)):
            raise PermissionDenied
        picked = Picked(self.alias(request), [pk], _tokens(request))
        if found.question and "confirmed" not in request.POST:
            return self._ask(request, found, picked, on_page=True)
        self.perform(request, found, picked)
        return HttpResponseRedirect(self._where_now(request, pk))

    def _where_now(self, request: HttpRequest, pk: int) -> str:
        """The row's page if it is still there, else the list."""
        there = self.get_queryset(request).filter(pk=pk).exists()
        page, args = ("change", [pk]) if there else ("changelist", [])
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_{page}"
        url = reverse(name, args=args, current_app=self.admin_site.name)
        kept: dict[str, Any] = {
            "preserved_filters": self.get_preserved_filters(request),
            "opts": self.opts,
        }
        return add_preserved_filters(kept, url)

    def buttons(self, request: HttpRequest, row: Any) -> list[Verb]:
        """What the user may do to `row` as it is now."""
        return [verb for verb in self.verbs if verb.allowed(request) and verb.offered(row)]

    def detail(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """The buttons, and what their forms carry."""
        return {
            **super().detail(request, row),
            "buttons": self.buttons(request, row),
            "seen": f"{row.pk}:{self.seen(row)}",
        }


def _slices(keys: Sequence[int]) -> Iterator[Sequence[int]]:
    return (keys[start : start + SLICE] for start in range(0, len(keys), SLICE))


def _tokens(request: HttpRequest) -> dict[int, int]:
    """The ``seen`` fields of a form, as ``row:number``."""
    tokens = {}
    for token in request.POST.getlist("seen"):
        key, _colon, number = token.partition(":")
        pair = (_number(key), _number(number))
        if pair[0] is not None and pair[1] is not None:
            tokens[pair[0]] = pair[1]
    return tokens


def _number(text: str) -> int | None:
    """A row number that a form carries; None for what no database would take."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None
