"""What every screen has in common: read-only, one database at a time, no heavy columns in lists."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ValidationError
from django.db import DEFAULT_DB_ALIAS
from django.db.models import F
from django.db.models.functions import Substr
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.formats import number_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import mark_safe
from django.utils.text import capfirst
from django.utils.translation import gettext

from djqueue.admin.contents import VISIBLE
from djqueue.admin.lists.filters import DATABASE
from djqueue.admin.lists.paginator import CappedPaginator
from djqueue.admin.lists.search import narrowed
from djqueue.admin.lists.terms import OF_JOBS, Search
from djqueue.compat import kept_filters
from djqueue.operations.describe import LONGEST_SHOWN
from djqueue.text import printable as text
from djqueue.text import short_ids as ids

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from django.db.models import Model, QuerySet
    from django.http import HttpResponse
    from django.utils.safestring import SafeString

    from djqueue.compat import LazyText

    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin


SHORT = 20
"""Letters of a name that fit in a line."""
_WORDS = re.compile(r"(?<=[._])|(?<=[a-z])(?=[A-Z])")


def column(
    label: LazyText, *, ordering: str | None = None
) -> Callable[[Callable[[Any, Any], object]], Callable[[Any, Any], SafeString]]:
    """Make a list column whose cells carry its label: on a phone each row becomes a card of
    them.
    """

    def decorate(method: Callable[[Any, Any], object]) -> Callable[[Any, Any], SafeString]:
        @admin.display(description=label, ordering=ordering)
        def cell(self: Any, row: Any) -> SafeString:
            return format_html(
                '<span class="djq-label" aria-hidden="true">{}</span>'
                '<span class="djq-value">{}</span>',
                label,
                method(self, row),
            )

        cell.__name__ = method.__name__
        cell.__doc__ = method.__doc__
        return cell

    return decorate


def named(row: Any) -> SafeString:
    """Return a job's name, and enough of its id to recognise it."""
    return format_html(
        '<bdi>{}</bdi> <span class="djq-id" dir="ltr">{}</span>',
        breakable(text.one_line(row.name, 255)),
        ids.short(row.uuid),
    )


def breakable(name: str) -> SafeString:
    """Return a name which, if it is long, may go on in the next line between its words."""
    words = _WORDS.split(name) if len(name) > SHORT else [name]
    return format_html_join(mark_safe("<wbr>"), "{}", ((word,) for word in words))


class Page(TemplateResponse):
    """A page that holds no character that could break it, whatever is stored."""

    @property
    def rendered_content(self) -> str:
        """Return the page, without any character that could break it."""
        return text.page(super().rendered_content)


def fit(response: HttpResponse, request: HttpRequest) -> HttpResponse:
    """Return one of Django's pages as a `Page`."""
    if not isinstance(response, TemplateResponse) or response.is_rendered:
        return response
    return Page(
        request, response.template_name, response.context_data, headers=dict(response.headers)
    )


class LightChangeList(ChangeList):
    """A list that leaves the columns in the database which it does not show."""

    model_admin: ReadOnlyAdmin
    notes: Sequence[str] = ()
    """Why this is not the whole list, for people."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        """Return the rows of the list, without `ReadOnlyAdmin.heavy_columns`."""
        rows = super().get_queryset(request, exclude_parameters)
        self.notes = [*self.notes, *getattr(request, "djqueue_notes", ())]
        return rows.defer(*self.model_admin.heavy_columns)


class ReadOnlyAdmin(_ModelAdmin):
    """Rows that only djqueue itself writes: nothing here is added, edited or deleted by form."""

    search_words: ClassVar[Sequence[str]] = OF_JOBS
    """The qualifiers that the search box knows."""
    heavy_columns: ClassVar[Sequence[str]] = ()
    """Texts that lists never load, and pages of one row only with the right permission."""
    paginator = CappedPaginator
    list_per_page = 100
    list_max_show_all = 0
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    # No field is a form's: the page is drawn by `detail`.
    fieldsets = ((None, {"fields": ()}),)

    class Media:
        """A style sheet of our own; no script, and nothing inline."""

        css = {"all": ("djqueue/admin.css",)}

    # -- which database ------------------------------------------------------------------------

    def databases(self) -> Mapping[str, Sequence[str]]:
        """Return the aliases with rows of this model and the names of each; the first is the
        default.
        """
        return {DEFAULT_DB_ALIAS: [DEFAULT_DB_ALIAS]}

    def alias(self, request: HttpRequest) -> str:
        """Return the database that a request is about. Pages keep it from the list they came
        from.
        """
        kept = kept_filters(request)
        asked = request.GET.get(DATABASE) or kept.get(DATABASE)
        known = self.databases()
        return asked if asked and asked in known else next(iter(known))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the rows of that database."""
        return super().get_queryset(request).using(self.alias(request))

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Model | None:
        """Return a row for its page, with no more of its heavy columns than a page may show."""
        if "\0" in object_id:  # which PostgreSQL does not even look for
            return None
        rows = self.get_queryset(request).defer(*self.heavy_columns)
        cut = {
            f"{name}_begin": Substr(F(name), 1, LONGEST_SHOWN + 1) for name in self.heavy_columns
        }
        try:
            row = rows.annotate(**cut).get(pk=self.opts.pk.to_python(object_id))
        except (self.model.DoesNotExist, ValidationError, ValueError, OverflowError):
            return None
        for name in self.heavy_columns:
            setattr(row, name, getattr(row, f"{name}_begin") or "")
        found: Model = row
        return found

    def searched_column(self, request: HttpRequest) -> str:
        """Return the column in which words without a qualifier are looked for, beside id and
        name.
        """
        return "name"

    def search(self, request: HttpRequest, typed: str) -> Search:
        """Return the search that a user has typed."""
        return Search.read(typed, self.search_words, values=request.user.has_perm(VISIBLE))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Return the rows that match, and leave for the list why these are not all, or none."""
        if not self.search_fields:
            return super().get_search_results(request, queryset, search_term)
        search = self.search(request, search_term)
        found = narrowed(queryset, search, self.searched_column(request))
        notes = [search.error] if search.error else []
        if found.newest is not None:
            count = number_format(found.newest, use_l10n=True, force_grouping=True)
            words = gettext("The search looked at the newest %(count)s rows only.")
            notes.append(words % {"count": count})
        request.djqueue_notes = notes  # type: ignore[attr-defined]
        request.djqueue_found = found.number  # type: ignore[attr-defined]
        return found.rows, False

    def get_paginator(self, request: HttpRequest, *args: Any, **kwargs: Any) -> CappedPaginator:
        """Return a paginator that counts no rows where the search has done so."""
        paginator = CappedPaginator(*args, **kwargs)
        paginator.known = getattr(request, "djqueue_found", None)
        return paginator

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Allow the filters' own parameters and no column: a query by a column could reveal its
        hidden values.
        """
        return lookup in {getattr(each, "parameter_name", each) for each in self.list_filter}

    def to_field_allowed(self, request: HttpRequest, to_field: str) -> bool:
        """Return False: no list of these rows is a field's choices."""
        return False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return a list without heavy columns."""
        return LightChangeList

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Return the list, with the model's plural name as its title."""
        context = {"title": capfirst(self.opts.verbose_name_plural), **(extra_context or {})}
        return fit(super().changelist_view(request, context), request)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Return the page with the operators' actions on a row."""
        return fit(super().history_view(request, object_id, extra_context), request)

    # -- read-only -----------------------------------------------------------------------------

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False: jobs are dispatched by code."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Return False: a worker may be reading the row."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Return False for Django's own delete pages, which ask no worker. The actions have
        permissions of their own.
        """
        return False

    # -- the page of one row -------------------------------------------------------------------

    def detail(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """Return what the page of `row` shows: ``facts``, pairs of a label and a value, and
        more.
        """
        return {"facts": []}

    def title(self, row: Any) -> str:
        """Return the title of the page of `row`."""
        return text.one_line(row.name, 255)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Return Django's page with `detail` in the place of the form's fields."""
        row = context["original"]
        context.update(self.detail(request, row), title=self.title(row), subtitle=None)
        return fit(super().render_change_form(request, context, *args, **kwargs), request)
