"""What operators do to the unique key and to the chain of a job."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from django.contrib.admin.models import CHANGE
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy

from djqueue.admin.lists.selection import stored_key
from djqueue.admin.outcome import Wording, plural
from djqueue.admin.verbs.verb import Verb
from djqueue.composition.chains import steps
from djqueue.dispatch.connections import queues
from djqueue.dispatch.unique.held import held, holders_of, unlock
from djqueue.dispatch.unique.keys import key_in
from djqueue.drivers.database.rows import jobs
from djqueue.operations.results import Reason, Result, Target, one_by_one
from djqueue.payload.links import links_of

if TYPE_CHECKING:
    from djqueue.admin.lists.selection import Selection

__all__ = ["END_CHAIN", "UNLOCK"]

_NO_KEY = Reason(_("it has no unique key."), _("they have no unique keys."))
_NO_CHAIN = Reason(_("nothing waits behind it."), _("nothing waits behind them."))


def _selected(selection: Selection) -> Iterator[tuple[Target, str]]:
    """Return the selected jobs that exist, each with its payload."""
    if selection.connection is None:
        rows = jobs(selection.alias).filter(pk__in=selection.keys)
        for pk, queue, uuid, name, payload in rows.values_list(
            "pk", "queue", "uuid", "name", "payload"
        ):
            yield Target("", queue, str(uuid), name, pk), payload
        return
    keys = [found for key in selection.keys if (found := stored_key(str(key))) is not None]
    for job in queues[selection.connection].inspector.find(keys):
        yield Target(selection.connection, job.queue, job.id, job.name), job.payload


def _each(act: Callable[[Target, str], bool], otherwise: Reason) -> Callable[[Selection], Result]:
    """Return a function that does something to each job; `act` says whether it changed it."""

    def apply(selection: Selection) -> Result:
        return one_by_one(len(selection.keys), _selected(selection), act, otherwise)

    return apply


def _unlock(target: Target, payload: str) -> bool:
    key = key_in(payload)
    if key is None:
        return False
    freed = [unlock(each) for each in held(key.key) if each.job == target.id]
    return any(freed)


def _end_chain(target: Target, payload: str) -> bool:
    chain = links_of(payload).chain
    return bool(chain) and steps.end(steps.store(), chain)[1] > 0


def _has_key(row: Any) -> bool:
    key = key_in(row.payload)
    return key is not None and str(row.uuid) in holders_of(key.key)


def _has_steps_behind(row: Any) -> bool:
    chain = steps.chain_of(row.payload)
    return chain is not None and bool(chain.waiting or chain.on_failure)


UNLOCK = Verb(
    name="unlock",
    label=_("Free its unique key"),
    permissions=("djqueue.release_job",),
    apply=_each(_unlock, _NO_KEY),
    wording=Wording(
        plural(
            ngettext_lazy(
                "Freed the unique key of %(count)d job",
                "Freed the unique keys of %(count)d jobs",
                "count",
            )
        ),
        plural(
            ngettext_lazy("%(count)d job is as it was", "%(count)d jobs are as they were", "count")
        ),
    ),
    flag=CHANGE,
    offered=_has_key,
    question=_(
        "Another job with the same key can be dispatched then, although this one has not ended. The"
        " job itself is not changed."
    ),
)
END_CHAIN = Verb(
    name="end_chain",
    label=_("End its chain"),
    permissions=("djqueue.delete_queuedjob",),
    apply=_each(_end_chain, _NO_CHAIN),
    wording=Wording(
        plural(ngettext_lazy("Ended %(count)d chain", "Ended %(count)d chains", "count")),
        plural(
            ngettext_lazy(
                "%(count)d chain was not ended", "%(count)d chains were not ended", "count"
            )
        ),
    ),
    flag=CHANGE,
    offered=_has_steps_behind,
    question=_(
        "The steps that wait behind this job are deleted, and so is the job for a failure. This job"
        " stays in its queue; if it runs, it goes on."
    ),
    destructive=True,
)
