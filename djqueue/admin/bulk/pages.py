"""The question before everything that matches is changed, and the page that says how far it is."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext, ngettext

from djqueue.admin.base import Page
from djqueue.admin.bulk import bulk as acts
from djqueue.admin.bulk.bulk import Bulk
from djqueue.admin.bulk.matching import InStore, InTable
from djqueue.admin.lists.selection import Selection, number
from djqueue.admin.lists.store_jobs import StoreRows
from djqueue.admin.outcome import tell
from djqueue.text import printable as text
from djqueue.text.masking import masked_text

if TYPE_CHECKING:
    from datetime import datetime

    from django import forms
    from django.contrib.admin import AdminSite
    from django.contrib.admin.models import LogEntry
    from django.contrib.admin.views.main import ChangeList
    from django.db.models import Model
    from django.http import HttpRequest

    from djqueue.admin.bulk.matching import Matching
    from djqueue.admin.verbs.verb import Verb

__all__ = ["act_on_all", "all_rows", "can_act_on_all", "list_url", "unfinished", "view"]


class Screen(Protocol):
    """What the pages need of `djqueue.admin.operator.OperatorAdmin`."""

    model: type[Model]
    opts: Any
    admin_site: AdminSite
    verbs: ClassVar[Sequence[Verb]]

    def alias(self, request: HttpRequest) -> str:
        """Return the database that a request is about."""

    def connection(self, request: HttpRequest) -> str | None:
        """Return the connection whose store has the rows, if they are in no table."""

    def summary(self, row: Any) -> Any:
        """Return the description of a row beside its name."""

    def has_view_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may see the rows."""

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """Return the list that a request asks for."""

    def is_too_many(self, request: HttpRequest, count: int | None) -> bool:
        """Return whether the user may not act on that many rows."""

    def refuse(self, request: HttpRequest) -> None:
        """Say so."""


SHOWN = 10
"""Rows that the question names."""
_GOES_ON = "djqueue_bulk_"
"""In the session, with the number of an act: a step of it was done just now. Its page, when it is
loaded next, goes on by itself; not when it is loaded again, from a bookmark or by the Back button.
"""
_NO_FILTERS = ("p", "o", "e")
"""Parameters of a list that leave its rows as they are."""


def act_on_all(
    admin: Screen, request: HttpRequest, verb: Verb, form: forms.Form | None
) -> HttpResponse | None:
    """Ask; when the question is answered, begin and do the first step. Return None when all is done
    or nothing was to be done, which messages say.
    """
    query = _filters(request)
    began = timezone.now()
    rows = _matching(admin, request, query, number(request.POST.get("newest", "")), began)
    count = rows.count()
    if not count and count is not None:
        messages.warning(request, gettext("Nothing was changed: nothing matches."))
        return None
    if admin.is_too_many(request, count):
        admin.refuse(request)
        return None
    newest = rows.newest if isinstance(rows, InTable) else None
    if "confirmed" not in request.POST or (form is not None and not form.is_valid()):
        return _ask(admin, request, verb, form, rows)
    chosen = {name: text.one_line(value, 200) for name, value in query.items()}
    bulk = Bulk(
        verb=verb.name,
        filter=chosen or "all",
        query=query.urlencode(),
        newest=newest,
        began=began.isoformat(),
        values={} if form is None else form.cleaned_data,
        matched=count,
        place=_about(admin, request, query).place,
        nouns=str(admin.opts.verbose_name_plural),
    )
    entry = acts.begin(request.user, admin.model, verb.flag, bulk)
    return _go_on(admin, request, verb, entry)


def view(admin: Screen, request: HttpRequest, pk: int) -> HttpResponse:
    """Return the page of an act that was begun; a POST does its next step."""
    entry = acts.entries(request.user, admin.model).filter(pk=pk).first()
    bulk = Bulk.read(entry) if entry is not None else None
    if entry is None or bulk is None:
        raise Http404
    verb = next((each for each in admin.verbs if each.name == bulk.verb), None)
    if verb is None or not (admin.has_view_permission(request) and verb.allowed(request)):
        raise PermissionDenied
    if admin.is_too_many(request, bulk.matched):
        raise PermissionDenied
    if request.method == "POST":
        answer = _go_on(admin, request, verb, entry)
        return answer or HttpResponseRedirect(list_url(admin, bulk.query))
    return _progress(admin, request, verb, bulk, pk)


def all_rows(admin: Screen, request: HttpRequest) -> Matching:
    """Return the rows that the filters of a list leave now."""
    return _matching(admin, request, _filters(request), None, timezone.now())


def can_act_on_all(listed: Any) -> bool:
    """Return whether a list has rows that can be read in slices."""
    rows = listed.queryset
    can = not isinstance(rows, StoreRows) or rows.can_list
    return bool(can and listed.result_count)


def unfinished(admin: Screen, request: HttpRequest) -> list[tuple[str, str]]:
    """Return the user's acts that were interrupted: what they are, and their addresses."""
    labels = {verb.name: str(verb.label).removesuffix("…") for verb in admin.verbs}
    return [
        (f"{labels.get(bulk.verb, bulk.verb)}: {_how_far(bulk)}", _url(admin, pk))
        for pk, bulk in acts.unfinished(request.user, admin.model)
    ]


def _go_on(admin: Screen, request: HttpRequest, verb: Verb, entry: LogEntry) -> HttpResponse | None:
    """Do the next step. Return None when it was the last one."""
    bulk = Bulk.read(entry)
    assert bulk is not None  # noqa: S101 - the caller has read it
    if not acts.claim(entry, bulk):
        if not bulk.ended:
            messages.warning(request, gettext("Another window is at it. Look again in a moment."))
        return HttpResponseRedirect(_url(admin, entry.pk))
    query = QueryDict(bulk.query)
    rows = _matching(admin, request, query, bulk.newest, bulk.began_at)
    result = acts.step(entry, bulk, verb, rows, _about(admin, request, query))
    if not bulk.ended:
        if not bulk.stopped:
            request.session[f"{_GOES_ON}{entry.pk}"] = True
        return HttpResponseRedirect(_url(admin, entry.pk))
    if bulk.done == len(result.changed) + len(result.left):  # the first step was the last
        tell(request, admin.admin_site.name, verb.wording, result)
    else:
        _tell(request, verb, bulk)
    if bulk.missed:
        _tell_missed(request, bulk)
    return None


def _matching(
    admin: Screen,
    request: HttpRequest,
    query: QueryDict,
    newest: int | None,
    began: datetime,
) -> Matching:
    asked = _as_list(request, query)
    # What was so a moment before the act began still counts when it is at the end.
    asked.djqueue_began = began  # type: ignore[attr-defined]
    try:
        listed: Any = admin.get_changelist_instance(asked).queryset
    except IncorrectLookupParameters:
        raise Http404 from None
    return InStore(listed, began) if isinstance(listed, StoreRows) else InTable.of(listed, newest)


def _as_list(request: HttpRequest, query: QueryDict) -> HttpRequest:
    asked = copy.copy(request)
    asked.GET = query  # type: ignore[assignment]  # it is not changed
    return asked


def _about(admin: Screen, request: HttpRequest, query: QueryDict) -> Selection:
    asked = _as_list(request, query)
    by = request.user.get_username()
    return Selection(admin.alias(asked), (), {}, connection=admin.connection(asked), by=by)


def _filters(request: HttpRequest) -> QueryDict:
    """Return those parameters of a list that choose its rows."""
    query = request.GET.copy()
    for name in _NO_FILTERS:
        query.pop(name, None)
    return query


# -- pages -----------------------------------------------------------------------------------------


def _ask(
    admin: Screen,
    request: HttpRequest,
    verb: Verb,
    form: forms.Form | None,
    rows: Matching,
) -> Page:
    count, named = rows.count(), rows.sample(SHOWN)
    context = {
        "question": verb.question or "",
        "form": form,
        "verb": verb,
        "rows": [(text.one_line(row), admin.summary(row)) for row in named],
        "count": count,
        "unknown": count is None,
        "unnamed": max(0, (count or 0) - len(named)),
        "across": True,
        "keys": [row.pk for row in named[:1]],
        "newest": rows.newest if isinstance(rows, InTable) else 0,
        "action": request.POST.get("action", ""),
        "checkbox": ACTION_CHECKBOX_NAME,
        "back": list_url(admin, _filters(request).urlencode()),
    }
    return _page(admin, request, "confirm", verb, context)


def _progress(admin: Screen, request: HttpRequest, verb: Verb, bulk: Bulk, pk: int) -> Page:
    context = {
        "bulk": bulk,
        "how_far": _how_far(bulk),
        "changed": verb.wording.done(bulk.changed),
        "left": [(verb.wording.left(count), why) for why, count in bulk.why.items()],
        "stopped": text.one_line(masked_text(bulk.stopped)),
        "filter": _in_words(bulk.filter),
        "goes_on": request.session.pop(f"{_GOES_ON}{pk}", False) and not bulk.ended,
        "url": _url(admin, pk),
        "back": list_url(admin, bulk.query),
        "lasts": acts.LASTS.days * 24,
    }
    return _page(admin, request, "bulk", verb, context)


def _page(
    admin: Screen, request: HttpRequest, name: str, verb: Verb, context: Mapping[str, Any]
) -> Page:
    shared = {
        **admin.admin_site.each_context(request),
        "opts": admin.opts,
        "title": str(verb.label).removesuffix("…"),
    }
    request.current_app = admin.admin_site.name
    return Page(request, f"admin/djqueue/{name}.html", {**shared, **context})


def _how_far(bulk: Bulk) -> str:
    done = number_format(bulk.done, use_l10n=True, force_grouping=True)
    if bulk.matched is None:
        return gettext("%(done)s done") % {"done": done}
    of = number_format(bulk.matched, use_l10n=True, force_grouping=True)
    return gettext("%(done)s of %(matched)s done") % {"done": done, "matched": of}


def _in_words(chosen: Mapping[str, str] | str) -> str:
    if isinstance(chosen, str):
        return gettext("all of them")
    return ", ".join(f"{name}: {value}" for name, value in chosen.items())


def _tell(request: HttpRequest, verb: Verb, bulk: Bulk) -> None:
    """Show as messages what came of all steps."""
    if bulk.changed:
        done = f"{verb.wording.done(bulk.changed)}. {verb.wording.after(bulk.changed)}"
        messages.success(request, done.rstrip())
    for why, count in bulk.why.items():
        message = f"{verb.wording.left(count)}: {why}"
        messages.warning(request, text.one_line(masked_text(message)))


def _tell_missed(request: HttpRequest, bulk: Bulk) -> None:
    words = ngettext(
        "%(count)d matched at the beginning, and did not any more when it was its turn.",
        "%(count)d matched at the beginning, and did not any more when it was their turn.",
        bulk.missed,
    )
    messages.warning(request, words % {"count": bulk.missed})


def _url(admin: Screen, pk: int) -> str:
    name = f"admin:{admin.opts.app_label}_{admin.opts.model_name}_bulk"
    return reverse(name, args=[pk], current_app=admin.admin_site.name)


def list_url(admin: Screen, query: str) -> str:
    """Return the address of the list with the parameters `query`."""
    name = f"admin:{admin.opts.app_label}_{admin.opts.model_name}_changelist"
    url = reverse(name, current_app=admin.admin_site.name)
    return f"{url}?{query}" if query else url
