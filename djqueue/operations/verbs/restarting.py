"""Asking workers to end when their jobs have ended, so that their supervisors start them again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _

from djqueue.databases.now import UtcNow
from djqueue.dispatch import controls
from djqueue.operations.results import Left, Reason, Result, Target

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ASKED", "LOST", "restart"]

ASKED = Reason(_("it is asked already."), _("they are asked already."))
LOST = Reason(_("it is lost, or has ended."), _("they are lost, or have ended."))


def restart(alias: str, rows: Sequence[int], by: str = "") -> Result:
    """Ask the workers with these rows in the database `alias` to end when their jobs have ended.
    They begin no more jobs.
    """
    from djqueue.models import Worker

    alive = Worker.objects.using(alias).filter(pk__in=rows, alive_until__gt=UtcNow())
    asked, left = [], []
    for row in alive.order_by("pk"):
        target = Target(row.connection, row.queues, str(row.pk), row.name, row.pk)
        if controls.request_end(controls.worker_key(alias, row.pk), by):
            asked.append(target)
        else:
            left.append(Left(ASKED, {}, target))
    lost = len(rows) - len(asked) - len(left)
    return Result(asked, left + [Left(LOST)] * lost)
