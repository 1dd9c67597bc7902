"""The overview and its buttons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, connections, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from djqueue.admin import audit
from djqueue.admin.base import Page
from djqueue.admin.overview import charts, reading
from djqueue.admin.overview.finding import find
from djqueue.conf import settings
from djqueue.dispatch import controls
from djqueue.dispatch.connections import queues
from djqueue.errors import QueueError
from djqueue.statistics.reading import counted_queues
from djqueue.text import printable as text

if TYPE_CHECKING:
    from collections.abc import Callable

    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin

PAUSES = "djqueue.pause_queue"
RETRIES = "djqueue.retry_failedjob"
EVERY = 5
"""Seconds between two looks of an open page."""


class PauseForm(forms.Form):
    """How long a queue is paused, and why."""

    SPANS = (
        ("", _("until it is resumed")),
        ("900", _("15 minutes")),
        ("3600", _("1 hour")),
        ("14400", _("4 hours")),
        ("86400", _("1 day")),
    )
    reason = forms.CharField(
        label=_("Reason"), max_length=255, required=False, help_text=_("For others to read.")
    )
    span = forms.ChoiceField(label=_("For how long"), choices=SPANS, required=False)


class OverviewAdmin(_ModelAdmin):
    """One page about all queues, instead of a list of rows."""

    def get_urls(self) -> list[URLPattern]:
        """Return the addresses of the page, of the part that is refreshed, and of its buttons."""
        urls = [
            path("", self._view(self.changelist_view), name="djqueue_overview_changelist"),
            path("live/", self._view(self.live_view), name="djqueue_overview_live"),
            path("find/", self._view(self.find_view), name="djqueue_overview_find"),
            path("statistics/", self._view(self.statistics_view), name="djqueue_statistics"),
            path("pause/", self._view(self.pause_view), name="djqueue_overview_pause"),
            path("resume/", self._view(self.resume_view), name="djqueue_overview_resume"),
        ]
        for url in urls:
            for alias in connections:
                url.callback = transaction.non_atomic_requests(alias)(url.callback)
        return urls

    def _view(self, view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        wrapped: Callable[..., HttpResponse] = self.admin_site.admin_view(never_cache(view))
        return wrapped

    # -- who may do what -----------------------------------------------------------------------

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False: there is one overview."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: it is to look at."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False."""
        return False

    # -- pages ---------------------------------------------------------------------------------

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Return the page."""
        return self._page(request, "admin/djqueue/overview.html", **(extra_context or {}))

    def live_view(self, request: HttpRequest) -> HttpResponse:
        """Return the part of the page that an open one asks for again."""
        return self._page(request, "admin/djqueue/includes/overview.html")

    def find_view(self, request: HttpRequest) -> HttpResponse:
        """Return where the job with that id is, or with an id that ends or begins so."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        asked = request.GET.get("q", "").strip()[:64]
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": gettext("Find a job"),
            "asked": asked,
            "found": find(self.admin_site.name, request.user, asked) if asked else None,
            "back": self._back(),
        }
        return Page(request, "admin/djqueue/find.html", context)

    def statistics_view(self, request: HttpRequest) -> HttpResponse:
        """Return the charts."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        span = request.GET.get("span", "")
        span = span if span in charts.SPANS else "1h"
        place = request.GET.get("queue", "")
        places, drawn, unread = {}, [], False
        try:
            places = {f"{name}:{queue}": (name, queue) for name, queue in counted_queues()}
            drawn = charts.charts(span, *places.get(place, (None, None)))
        except DatabaseError:
            unread = True
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": gettext("Statistics"),
            "off": not settings().statistics,
            "span": span,
            "spans": [("1h", gettext("the last hour")), ("24h", gettext("the last 24 hours"))],
            "place": place,
            "places": sorted(places),
            "charts": drawn,
            "unread": unread,
            "width": charts.WIDTH,
            "height": charts.HEIGHT,
        }
        return Page(request, "admin/djqueue/statistics.html", context)

    def _page(self, request: HttpRequest, template: str, **more: Any) -> Page:
        if not self.has_view_permission(request):
            raise PermissionDenied
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": capfirst(self.opts.verbose_name),
            "overview": reading.look(self.admin_site.name, request.user),
            "every": EVERY,
            "may_pause": request.user.has_perm(PAUSES),
            "may_retry": request.user.has_perm(RETRIES),
            **more,
        }
        return Page(request, template, context)

    # -- buttons -------------------------------------------------------------------------------

    def pause_view(self, request: HttpRequest) -> HttpResponse:
        """Ask for how long and why, and pause a queue, or every queue if none is named."""
        place = self._place(request, request.POST if request.method == "POST" else request.GET)
        form = PauseForm(request.POST if request.method == "POST" else None)
        if not form.is_valid():
            request.current_app = self.admin_site.name
            label = _label(place)
            context = {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "title": gettext("Pause %(queue)s") % {"queue": label},
                "form": form,
                "place": place,
                "back": self._back(),
            }
            return Page(request, "admin/djqueue/pause.html", context)
        span, reason = form.cleaned_data["span"], form.cleaned_data["reason"]
        details = {"for": span, "reason": reason}
        self._record(request, "pause", place, {key: each for key, each in details.items() if each})
        by = request.user.get_username()
        if controls.pause(*place, for_=float(span) if span else None, reason=reason, by=by):
            words = gettext("%(queue)s is paused. Jobs that run end as usual.")
            messages.success(request, words % {"queue": _label(place)})
        else:
            words = gettext("%(queue)s was paused already. Your time and reason are in force now.")
            messages.warning(request, words % {"queue": _label(place)})
        return HttpResponseRedirect(self._back())

    @method_decorator(require_POST)
    def resume_view(self, request: HttpRequest) -> HttpResponse:
        """End the pause of a queue, or all pauses if no queue is named."""
        place = self._place(request, request.POST)
        if controls.resume(*place):
            self._record(request, "resume", place, {})
            words = gettext("%(queue)s is resumed: workers take its jobs within a second.")
            messages.success(request, words % {"queue": _label(place)})
        else:
            words = gettext("%(queue)s was not paused any more.")
            messages.warning(request, words % {"queue": _label(place)})
        return HttpResponseRedirect(self._back())

    def _place(self, request: HttpRequest, given: Any) -> tuple[str | None, str | None]:
        """Return connection and queue that a form names; neither means every queue."""
        if not (self.has_view_permission(request) and request.user.has_perm(PAUSES)):
            raise PermissionDenied
        connection, queue = given.get("connection"), given.get("queue")
        if not connection and not queue:
            return None, None
        try:
            return connection, queues[connection].check(queue)
        except QueueError:
            raise PermissionDenied from None

    def _record(
        self,
        request: HttpRequest,
        verb: str,
        place: tuple[str | None, str | None],
        details: dict[str, str],
    ) -> None:
        audit.note(request, self.model, verb, _label(place), details)

    def _back(self) -> str:
        return reverse("admin:djqueue_overview_changelist", current_app=self.admin_site.name)


def _label(place: tuple[str | None, str | None]) -> str:
    """Return the name of a queue for people."""
    connection, queue = place
    return text.one_line(f"{connection}:{queue}") if connection else gettext("Every queue")
