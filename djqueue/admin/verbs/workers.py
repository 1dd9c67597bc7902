"""What operators do to workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.admin.models import CHANGE
from django.utils import timezone
from django.utils.translation import gettext, ngettext_lazy
from django.utils.translation import gettext_lazy as _

from djqueue.admin.outcome import Wording, plural
from djqueue.admin.verbs.verb import Action, Verb
from djqueue.operations.verbs import restarting
from djqueue.operations.words import since

if TYPE_CHECKING:
    from djqueue.admin.lists.selection import Selection
    from djqueue.operations.results import Result

__all__ = ["RESTART"]


def _restart(selection: Selection) -> Result:
    keys = [key for key in selection.keys if isinstance(key, int)]
    return restarting.restart(selection.alias, keys, selection.by)


RESTART = Verb(
    name="restart",
    label=_("Stop or restart"),
    permissions=("djqueue.restart_worker",),
    apply=_restart,
    wording=Wording(
        plural(
            ngettext_lazy(
                "Asked %(count)d worker to end", "Asked %(count)d workers to end", "count"
            )
        ),
        plural(
            ngettext_lazy(
                "%(count)d worker was not asked", "%(count)d workers were not asked", "count"
            )
        ),
        lambda count: gettext("Jobs that run are not interrupted."),
    ),
    flag=CHANGE,
    action=Action("restart_workers", _("Stop or restart selected workers")),
    offered=lambda row: since(row.alive_until, timezone.now()) <= 0,
    question=_(
        "It begins no more jobs within a second, and ends when those that it runs have ended. Its"
        " supervisor starts it again; without one it stays stopped."
    ),
    for_all=True,
)
