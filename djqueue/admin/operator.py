"""Actions that are carried out at once or after a question, on a list or on the page of one row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.apps import apps
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.templatetags.admin_urls import add_preserved_filters
from django.core.exceptions import PermissionDenied
from django.db import connections, transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from djqueue.admin import audit
from djqueue.admin.base import Page, ReadOnlyAdmin
from djqueue.admin.bulk import exporting, pages
from djqueue.admin.lists.selection import Key, Selection, in_order, number, seen_in
from djqueue.admin.outcome import more_than, tell
from djqueue.admin.verbs.verb import action_of
from djqueue.drivers.slices import slices
from djqueue.operations.results import Left, Result
from djqueue.text import printable as text

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db.models import QuerySet
    from django.utils.safestring import SafeString

    from djqueue.admin.bulk.exporting import Export
    from djqueue.admin.verbs.verb import Verb

SLICE = 500
"""Rows that one transaction of an action holds."""
AT_ONCE = 1_000
"""More rows than this need the permission ``bulk_operations``."""
AT_MOST = 10_000
"""Rows that one request acts on."""
SHOWN = 100
"""Rows that a question names."""


class OperatorAdmin(ReadOnlyAdmin):
    """A screen with actions. Each is checked and logged in one place, `perform`."""

    verbs: ClassVar[Sequence[Verb]] = ()
    export: ClassVar[Export | None] = None
    bulk_permission = "djqueue.bulk_operations"

    def __init_subclass__(cls) -> None:
        """Offer the verbs in the list's menu to those who have their permissions."""
        super().__init_subclass__()
        listed = [verb for verb in cls.verbs if verb.action is not None]
        if listed and "actions" not in vars(cls):
            cls.actions = [*map(action_of, listed), *(["export_rows"] if cls.export else [])]
            for verb in listed:
                assert verb.action is not None  # noqa: S101 - see above
                setattr(cls, f"has_{verb.action.name}_permission", _allowed(verb))

    def seen(self, row: Any) -> str:
        """Return the value of a row that a form carries, for the statement that changes the row to
        compare with.
        """
        return ""

    def connection(self, request: HttpRequest) -> str | None:
        """Return the connection whose store has the rows, if they are in no table."""
        return None

    def rows(self, request: HttpRequest, keys: Sequence[Key]) -> list[Any]:
        """Return those of the rows that exist, for a confirmation page."""
        rows = self.get_queryset(request).defer(*self.heavy_columns)
        return list(rows.filter(pk__in=keys).order_by("pk"))

    def key(self, request: HttpRequest, given: str) -> Key | None:
        """Return the row that a form or an address names; None for a text that names none."""
        return number(given)

    # -- carrying out --------------------------------------------------------------------------

    def perform(
        self, request: HttpRequest, verb: Verb, selection: Selection, scope: Mapping[str, Any]
    ) -> Result:
        """Apply the verb in slices, and report. Each slice is one transaction with its part of the
        log if the verb allows that. `scope` is what chose the rows, for the log.
        """
        if not verb.allowed(request) or self.is_too_many(request, len(selection.keys)):
            raise PermissionDenied
        result = Result()
        log = audit.Record(request, self.model, verb.flag, verb.name, selection.place, scope)
        every = list(slices(selection.keys, SLICE))
        total, by = len(selection.keys), request.user.get_username()
        for at, keys in enumerate(every):
            some = selection._replace(keys=keys, by=by, total=total, before=at * SLICE)
            part = verb.apply(some) if verb.commits_alone(some) else None
            with audit.together():
                part = part or verb.apply(some)
                lasting = [each for each in part.left if each.reason is verb.lasting]
                asked = [each.target for each in lasting if each.target is not None]
                changed = [*part.changed, *asked]
                log.add(changed, len(part.left) - len(asked), alone=len(every) == 1)
            result += part
            if part.stopped is not None:
                rest = sum(map(len, every[at + 1 :]))
                result += Result((), [Left(part.stopped)] * rest)
                break
        log.close()
        tell(request, self.admin_site.name, verb.wording, result)
        if selection.more and result.changed:
            self.message_user(request, more_than(len(selection.keys)), messages.WARNING)
        return result

    def run(self, request: HttpRequest, queryset: QuerySet[Any], verb: Verb) -> Any:
        """Carry out an action of the list: at once or after a confirmation, which "all" always
        needs.
        """
        if not verb.allowed(request):
            raise PermissionDenied
        # Of another store's list only rows that the form names: none is offered "all".
        everything = forms.BooleanField().to_python(request.POST.get("select_across"))
        across = everything and self.connection(request) is None
        form = verb.answers(request)
        if across and verb.in_steps:
            return pages.act_on_all(self, request, verb, form)
        selection = self._all_of(request, queryset) if across else self._selected(request)
        if self.is_too_many(request, len(selection.keys)):
            self.refuse(request)
            return None
        if (across or verb.asks) and not _answered(request, form):
            return self._ask(request, verb, selection, form, across=across)
        scope: dict[str, Any] = {}
        if across:
            chosen = {name: text.one_line(value, 200) for name, value in request.GET.items()}
            scope = {"filter": chosen or "all", "newest": _newest(selection)}
        return self.perform(request, verb, _with_values(selection, form), scope)

    def is_too_many(self, request: HttpRequest, count: int | None) -> bool:
        """Return whether the user may not act on that many rows. None: on a number that is not
        known.
        """
        few = count is not None and count <= AT_ONCE
        return not few and not request.user.has_perm(self.bulk_permission)

    def refuse(self, request: HttpRequest) -> None:
        """Say that the user may not act on that many rows."""
        refusal = gettext(
            "Nothing was changed: more than %(limit)d rows match, and your account may act on"
            " %(limit)d at once. Narrow the list with a filter or the search."
        )
        self.message_user(request, refusal % {"limit": AT_ONCE}, messages.ERROR)

    def _selected(self, request: HttpRequest) -> Selection:
        # Not the action's queryset: that has the list's filters, and would hide a row that has
        # changed its state since the page was made.
        given = (self.key(request, each) for each in request.POST.getlist(ACTION_CHECKBOX_NAME))
        keys = sorted({key for key in given if key is not None}, key=in_order)
        return self._selection(request, keys)

    def _selection(self, request: HttpRequest, keys: Sequence[Key]) -> Selection:
        """Return the rows that forms name, as many as one request acts on."""
        seen = {self.key(request, row) or 0: token for row, token in seen_in(request).items()}
        return Selection(
            self.alias(request),
            keys[:AT_MOST],
            seen,
            more=len(keys) > AT_MOST,
            connection=self.connection(request),
        )

    def _all_of(self, request: HttpRequest, queryset: QuerySet[Any]) -> Selection:
        """Return every row of the list, up to the newest one at the time of the first request."""
        newest = number(request.POST.get("newest", ""))
        rows = queryset if newest is None else queryset.filter(pk__lte=newest)
        keys = list(rows.order_by("pk").values_list("pk", flat=True)[: AT_MOST + 1])
        return self._selection(request, keys)

    # -- exporting -----------------------------------------------------------------------------

    def has_export_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may see all that an export has."""
        return self.export is not None and self.export.allowed(request)

    @admin.action(description=_("Export selected rows as JSON lines"), permissions=["export"])
    def export_rows(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        """Send the selected rows as a file, or all that match."""
        return self._exported(request, across=request.POST.get("select_across") == "1")

    @method_decorator(require_POST)
    def export_view(self, request: HttpRequest) -> HttpResponse:
        """Send rows that a form names as a file; those that match if it names none."""
        if not (self.has_view_permission(request) and self.has_export_permission(request)):
            raise PermissionDenied
        answer = self._exported(request, across=ACTION_CHECKBOX_NAME not in request.POST)
        return answer or HttpResponseRedirect(pages.list_url(self, request.GET.urlencode()))

    def _exported(self, request: HttpRequest, *, across: bool) -> Any:
        assert self.export is not None  # noqa: S101 - the permission needs one
        rows = pages.all_rows(self, request) if across else None
        selection = self._selected(request)
        count = rows.count() if rows is not None else len(selection.keys)
        if self.is_too_many(request, count):
            return self.refuse(request)
        every = None if rows is None else exporting.each_of(rows)
        return exporting.response(request, self.model, self.export, selection, every)

    # -- asking --------------------------------------------------------------------------------

    def _ask(
        self,
        request: HttpRequest,
        verb: Verb,
        selection: Selection,
        form: forms.Form | None,
        *,
        across: bool = False,
        on_page: bool = False,
    ) -> Page:
        """Return the confirmation page: what would happen, and to which rows."""
        named = self.rows(request, selection.keys[:SHOWN])
        # The operator sees some of them; the answer is about what all of them were at this moment.
        seen = named if not verb.compares else self._in_slices(request, selection.keys)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": str(verb.label).removesuffix("…"),
            "question": verb.question or "",
            "form": form,
            "verb": verb,
            "wording": verb.wording,
            "rows": [(text.one_line(row), self.summary(row)) for row in named],
            "seen": ",".join(f"{row.pk}:{self.seen(row)}" for row in seen),
            "count": len(selection.keys),
            "more": more_than(len(selection.keys)) if selection.more else "",
            "unnamed": max(0, len(selection.keys) - SHOWN),
            "across": across,
            "keys": selection.keys[:1] if across else selection.keys,
            "newest": _newest(selection),
            "action": request.POST.get("action", ""),
            "checkbox": ACTION_CHECKBOX_NAME,
            "back": self._where_now(request, selection.keys[0] if on_page else None),
        }
        request.current_app = self.admin_site.name
        return Page(request, "admin/djqueue/confirm.html", context)

    def _in_slices(self, request: HttpRequest, keys: Sequence[Key]) -> Iterator[Any]:
        for some in slices(keys, SLICE):
            yield from self.rows(request, some)

    def summary(self, row: Any) -> SafeString | str:
        """Return the description of a row on a confirmation page, beside its name."""
        return ""

    def action_checkbox(self, obj: Any) -> SafeString:
        """Return Django's check box, and the value of the row that the action compares."""
        box = super().action_checkbox(obj)
        return format_html(
            '{}<input type="hidden" name="seen" value="{}:{}">', box, obj.pk, self.seen(obj)
        )

    # -- the page of one row -------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        """Return Django's addresses, and one that applies a verb to one row. Each act commits in
        steps of its own, also where ATOMIC_REQUESTS is on: a rollback of the request would bring
        failed jobs back whose jobs are in another store already.
        """
        name = f"{self.opts.app_label}_{self.opts.model_name}_act"
        export = f"{self.opts.app_label}_{self.opts.model_name}_export"
        bulk = f"{self.opts.app_label}_{self.opts.model_name}_bulk"
        view = self.admin_site.admin_view(self.act_view)
        urls = [
            path("<str:pk>/act/<str:verb>/", view, name=name),
            path("all/<str:verb>/", self.admin_site.admin_view(self.all_view), name=f"{name}_all"),
            path("export/", self.admin_site.admin_view(self.export_view), name=export),
            path("bulk/<int:pk>/", self.admin_site.admin_view(self.bulk_view), name=bulk),
            *super().get_urls(),
        ]
        for url in urls:
            for alias in connections:
                url.callback = transaction.non_atomic_requests(alias)(url.callback)
        return urls

    @method_decorator(require_POST)
    def act_view(self, request: HttpRequest, pk: str, verb: str) -> HttpResponse:
        """Handle a button of a row's page."""
        found = next((each for each in self.verbs if each.name == verb), None)
        key = self.key(request, pk)
        if found is None or key is None:
            raise Http404
        if not (self.has_view_permission(request) and found.allowed(request)):
            raise PermissionDenied
        selection = self._selection(request, [key])
        form = found.answers(request)
        if found.asks and not _answered(request, form):
            return self._ask(request, found, selection, form, on_page=True)
        self.perform(request, found, _with_values(selection, form), {})
        return HttpResponseRedirect(self._where_now(request, key))

    @method_decorator(require_POST)
    def all_view(self, request: HttpRequest, verb: str) -> HttpResponse:
        """Handle a button above a list, which is for everything that matches."""
        found = next((each for each in self.verbs if each.name == verb and each.for_all), None)
        if found is None:
            raise Http404
        if not (self.has_view_permission(request) and found.allowed(request)):
            raise PermissionDenied
        return pages.act_on_all(self, request, found, found.answers(request)) or (
            HttpResponseRedirect(pages.list_url(self, request.GET.urlencode()))
        )

    def bulk_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Return the page of an act on everything that matched; a POST does its next step."""
        return pages.view(self, request, pk)

    def for_all(self, request: HttpRequest) -> list[Verb]:
        """Return the verbs that the list has buttons for, to be done to everything on it."""
        return [verb for verb in self.verbs if verb.for_all and verb.allowed(request)]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Return the list, with buttons for everything that matches."""
        response = super().changelist_view(request, extra_context)
        context = response.context_data if isinstance(response, Page) else None
        if context is not None and "cl" in context:
            can = pages.can_act_on_all(context["cl"])
            context["for_all"] = self.for_all(request) if can else []
            context["exports"] = self.has_export_permission(request) and context["cl"].result_count
            context["unfinished"] = pages.unfinished(self, request) if self.verbs else []
        return response

    def _where_now(self, request: HttpRequest, key: Key | None) -> str:
        """Return the address of the row's page if it still exists, else that of the list."""
        there = key is not None and bool(self.rows(request, [key]))
        page, args = ("change", [key]) if there else ("changelist", [])
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_{page}"
        url = reverse(name, args=args, current_app=self.admin_site.name)
        kept: dict[str, Any] = {
            "preserved_filters": self.get_preserved_filters(request),
            "opts": self.opts,
        }
        return add_preserved_filters(kept, url)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Return the page with the operators' actions on a row, in the words of the buttons."""
        response = super().history_view(request, object_id, extra_context)
        context = response.context_data if isinstance(response, Page) else None
        entries = (context or {}).get("action_list")
        if entries:
            place = self._selection(request, []).place
            labels = {verb.name: str(verb.label) for verb in self.verbs}
            entries.object_list = audit.history(entries, labels, place)
        return response

    def buttons(self, request: HttpRequest, row: Any) -> list[Verb]:
        """Return the verbs that the user may apply to `row` in its current state."""
        return [verb for verb in self.verbs if verb.allowed(request) and verb.offered(row)]

    def detail(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """Return the buttons, and the values that their forms carry."""
        return {
            **super().detail(request, row),
            "buttons": self.buttons(request, row),
            "exports": self.has_export_permission(request),
            "draws_buttons": apps.is_installed("grappelli"),
            "seen": f"{row.pk}:{self.seen(row)}",
        }


def _allowed(verb: Verb) -> Callable[[Any, HttpRequest], bool]:
    def allowed(self: Any, request: HttpRequest) -> bool:
        """Return whether the list's menu offers the verb."""
        return verb.allowed(request)

    return allowed


def _answered(request: HttpRequest, form: forms.Form | None) -> bool:
    """Return whether the operator has confirmed, with values that can be used if any are asked."""
    return "confirmed" in request.POST and (form is None or form.is_valid())


def _with_values(selection: Selection, form: forms.Form | None) -> Selection:
    return selection if form is None else selection._replace(values=form.cleaned_data)


def _newest(selection: Selection) -> int:
    """Return the largest row number that "all" includes."""
    return max((key for key in selection.keys if isinstance(key, int)), default=0)
