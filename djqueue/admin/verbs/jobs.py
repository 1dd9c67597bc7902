"""What operators do to stored jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from django.contrib.admin.models import ADDITION, CHANGE, DELETION
from django.utils.translation import gettext, ngettext_lazy
from django.utils.translation import gettext_lazy as _

from djqueue.admin.outcome import Wording, plural
from djqueue.admin.verbs import stored
from djqueue.admin.verbs.forms import ChangeForm, MoveForm
from djqueue.admin.verbs.verb import Action, Verb
from djqueue.drivers.base import Change, State
from djqueue.operations import results
from djqueue.operations.verbs import stopping

if TYPE_CHECKING:
    from djqueue.compat import LazyText
    from djqueue.operations.results import Reason

__all__ = ["CHANGE_IT", "COPY", "DELETE", "FORCE_DELETE", "MOVE", "RELEASE", "RUN_NOW", "STOP"]

HINTS: Mapping[Reason, LazyText] = {
    results.RUNNING: _("Wait for the end, or use “Delete even though running”."),
    results.TAKEN_AGAIN: _("Look at the list once more."),
    results.NOT_SEEN: _("Look at the list once more."),
    results.NOT_RUNNING: _("Use “Delete”."),
}
"""What to do about a job that was left, for some reasons."""
_STOP_IT: Mapping[Reason, LazyText] = {
    results.RUNNING: _("A job that runs can only be stopped."),
}
_MOVES = (State.WAITING.value, State.DELAYED.value)

_NOT_DELETED = plural(
    ngettext_lazy("%(count)d job was not deleted", "%(count)d jobs were not deleted", "count")
)

DELETE = Verb(
    name="delete",
    label=_("Delete"),
    permissions=("djqueue.delete_queuedjob",),
    apply=stored.changer(Change.DELETE),
    wording=Wording(
        plural(ngettext_lazy("Deleted %(count)d job", "Deleted %(count)d jobs", "count")),
        _NOT_DELETED,
        hints=HINTS,
    ),
    flag=DELETION,
    action=Action("delete_jobs", _("Delete selected jobs")),
    for_all=True,
    offered=lambda job: job.state != State.RESERVED.value,
    destructive=True,
)
FORCE_DELETE = Verb(
    name="force_delete",
    label=_("Delete even though running"),
    permissions=("djqueue.delete_queuedjob", "djqueue.force_delete_job"),
    apply=stored.changer(Change.DELETE_RUNNING),
    wording=Wording(
        plural(
            ngettext_lazy(
                "Deleted %(count)d running job", "Deleted %(count)d running jobs", "count"
            )
        ),
        _NOT_DELETED,
        lambda count: gettext(
            "The attempt that runs goes on; its result is ignored and it is not retried."
        ),
        hints=HINTS,
    ),
    flag=DELETION,
    action=Action("force_delete_jobs", _("Delete selected jobs even though running")),
    offered=lambda job: job.state == State.RESERVED.value,
    question=_(
        "This removes the job from the queue only. The worker keeps executing the current attempt"
        " to its end; its result is ignored, and it is not retried."
    ),
    destructive=True,
    compares=True,
)
RELEASE = Verb(
    name="release",
    label=_("Release"),
    permissions=("djqueue.release_job",),
    apply=stored.changer(Change.RELEASE),
    wording=Wording(
        plural(
            ngettext_lazy("Released %(count)d stuck job", "Released %(count)d stuck jobs", "count")
        ),
        plural(
            ngettext_lazy(
                "%(count)d job was not released", "%(count)d jobs were not released", "count"
            )
        ),
        lambda count: gettext("The next free worker takes over."),
        follow=True,
        hints=HINTS,
    ),
    flag=CHANGE,
    action=Action("release_jobs", _("Release selected stuck jobs")),
    primary=True,
    offered=lambda job: job.state == State.STUCK.value,
    compares=True,
)
RUN_NOW = Verb(
    name="run_now",
    label=_("Run now"),
    permissions=("djqueue.release_job",),
    apply=stored.changer(Change.RUN_NOW),
    wording=Wording(
        plural(
            ngettext_lazy(
                "%(count)d delayed job may run now", "%(count)d delayed jobs may run now", "count"
            )
        ),
        plural(
            ngettext_lazy(
                "%(count)d job was left as it is", "%(count)d jobs were left as they are", "count"
            )
        ),
        follow=True,
    ),
    flag=CHANGE,
    action=Action("run_jobs_now", _("Run selected delayed jobs now")),
    for_all=True,
    primary=True,
    offered=lambda job: job.state == State.DELAYED.value,
)
CHANGE_IT = Verb(
    name="change",
    label=_("Change…"),
    permissions=("djqueue.change_queuedjob",),
    apply=stored.move,
    commits=True,
    wording=Wording(
        plural(ngettext_lazy("Changed %(count)d job", "Changed %(count)d jobs", "count")),
        plural(
            ngettext_lazy(
                "%(count)d job was not changed", "%(count)d jobs were not changed", "count"
            )
        ),
        hints=_STOP_IT,
    ),
    flag=CHANGE,
    action=Action("change_jobs", _("Change priority or time of selected jobs")),
    offered=lambda job: job.state in _MOVES,
    question=_(
        "In a store that is no database, the attempts of a changed job are counted from 0 again."
    ),
    form=ChangeForm,
)
MOVE = Verb(
    name="move",
    label=_("Move…"),
    permissions=("djqueue.change_queuedjob",),
    apply=stored.move,
    commits=True,
    wording=Wording(
        plural(ngettext_lazy("Moved %(count)d job", "Moved %(count)d jobs", "count")),
        plural(
            ngettext_lazy("%(count)d job was not moved", "%(count)d jobs were not moved", "count")
        ),
        follow=True,
        hints=_STOP_IT,
    ),
    flag=CHANGE,
    action=Action("move_jobs", _("Move selected jobs to another queue")),
    offered=lambda job: job.state in _MOVES,
    question=_(
        "A job keeps its id, its arguments, and what it is bound to. In another store its attempts"
        " are counted from 0 again."
    ),
    form=MoveForm,
)
COPY = Verb(
    name="copy",
    label=_("Run a copy"),
    permissions=("djqueue.add_queuedjob",),
    apply=stored.copy,
    commits=True,
    once=True,
    wording=Wording(
        plural(
            ngettext_lazy(
                "Dispatched a copy of %(count)d job", "Dispatched copies of %(count)d jobs", "count"
            )
        ),
        plural(
            ngettext_lazy("%(count)d job was not copied", "%(count)d jobs were not copied", "count")
        ),
    ),
    flag=ADDITION,
    action=Action("copy_jobs", _("Run a copy of selected jobs")),
    question=_(
        "The copy has the same class and arguments, and an id of its own. It is no step of a chain"
        " and no member of a batch. This job stays as it is."
    ),
)
STOP = Verb(
    name="stop",
    label=_("Stop"),
    permissions=("djqueue.stop_job",),
    apply=stored.stop,
    commits=True,
    wording=Wording(
        plural(ngettext_lazy("Stopped %(count)d job", "Stopped %(count)d jobs", "count")),
        plural(
            ngettext_lazy(
                "%(count)d job was not stopped", "%(count)d jobs were not stopped", "count"
            )
        ),
    ),
    flag=CHANGE,
    action=Action("stop_jobs", _("Stop selected running jobs")),
    offered=lambda job: job.state == State.RESERVED.value,
    question=_(
        "Its worker kills the job, with all programs that it started. It ends as cancelled: it is"
        " not retried, and the steps behind it in a chain are deleted."
    ),
    destructive=True,
    lasting=stopping.NOT_ANSWERED,
)
