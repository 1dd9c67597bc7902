"""What operators do to failed jobs."""

from __future__ import annotations

from dataclasses import replace

from django.contrib.admin.models import ADDITION, CHANGE, DELETION
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy

from djqueue.admin.outcome import Wording, plural
from djqueue.admin.verbs import jobs, recorded
from djqueue.admin.verbs.forms import SpreadForm
from djqueue.admin.verbs.verb import Action, Verb

__all__ = ["COPY", "EDIT", "FORGET", "RETRY", "SPREAD"]

RETRY = Verb(
    name="retry",
    label=_("Retry"),
    permissions=("djqueue.retry_failedjob",),
    apply=recorded.retry,
    commits=True,
    wording=Wording(
        plural(ngettext_lazy("Retried %(count)d job", "Retried %(count)d jobs", "count")),
        plural(
            ngettext_lazy(
                "%(count)d job was not retried", "%(count)d jobs were not retried", "count"
            )
        ),
        plural(
            ngettext_lazy(
                "It is back in its queue, and its attempts are counted from the beginning.",
                "They are back in their queues, and their attempts are counted from the beginning.",
                "count",
            ),
        ),
        follow=True,
    ),
    flag=CHANGE,
    action=Action("retry_jobs", _("Retry selected failed jobs")),
    for_all=True,
    primary=True,
)
SPREAD = replace(
    RETRY,
    name="spread",
    label=_("Retry over time…"),
    action=Action("spread_jobs", _("Retry selected failed jobs over time")),
    question=_("They come back to their queues one by one, oldest first."),
    form=SpreadForm,
    primary=False,
    for_all=False,
)
EDIT = replace(
    RETRY,
    name="edit",
    label=_("Edit and retry…"),
    permissions=("djqueue.retry_failedjob", "djqueue.view_payload", "djqueue.edit_payload"),
    action=None,
    primary=False,
    for_all=False,
)
"""On a page of its own, `djqueue.admin.editing.page`."""
COPY = replace(jobs.COPY, apply=recorded.copy, flag=ADDITION)
FORGET = Verb(
    name="forget",
    label=_("Forget"),
    permissions=("djqueue.delete_failedjob",),
    apply=recorded.forget,
    wording=Wording(
        plural(
            ngettext_lazy("Forgot %(count)d failed job", "Forgot %(count)d failed jobs", "count")
        ),
        plural(
            ngettext_lazy(
                "%(count)d failed job was not forgotten",
                "%(count)d failed jobs were not forgotten",
                "count",
            )
        ),
    ),
    flag=DELETION,
    action=Action("forget_jobs", _("Forget selected failed jobs")),
    for_all=True,
    question=_("Without its record a failed job cannot be retried any more."),
    destructive=True,
)
