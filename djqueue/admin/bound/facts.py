"""What the page of a job says of its unique key, its chain, the limit that holds it back, and how
long it usually takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import DatabaseError
from django.utils import formats, timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from djqueue.composition.chains.steps import chain_of
from djqueue.conf import settings
from djqueue.databases.now import aware
from djqueue.dispatch.unique.held import holders_of
from djqueue.dispatch.unique.keys import key_in
from djqueue.drivers import debounced
from djqueue.drivers.base import State
from djqueue.jobs import registry
from djqueue.operations.describe import held_back
from djqueue.operations.words import took
from djqueue.statistics.reading import of_job
from djqueue.text import printable as text
from djqueue.text import short_ids as ids
from djqueue.text.masking import masked_text

__all__ = ["chain_facts", "held_back_fact", "key_facts", "usual_fact"]

if TYPE_CHECKING:
    from djqueue.compat import LazyText

Facts = list[tuple["LazyText | str", object]]


def key_facts(row: Any) -> Facts:
    """Return the key of a unique job, and which job has it; the key of a debounced job."""
    facts: Facts = []
    if (key := key_in(row.payload)) is not None:
        holders = holders_of(key.key)
        if str(row.uuid) in holders:
            words = gettext("%s, held by this job")
        elif holders:
            words = gettext("%s, held by job {}").format(", ".join(map(text.one_line, holders)))
        else:
            words = gettext("%s, not held any more")
        facts.append((_("Unique key"), words % text.one_line(key.key)))
    if registry.debounces():
        waits = debounced.key_of(settings().shared_database, str(row.uuid))
        facts += [(_("Debounced, key"), text.one_line(waits))] if waits else []
    return facts


def usual_fact(connection: str | None, queue: str, name: str) -> Facts:
    """Return how long the job usually takes, as far as that was counted in the last day."""
    try:
        known = of_job(connection, queue, name) if connection and settings().statistics else None
    except DatabaseError:  # it may be another one than that of the row, and is no part of its page
        return [(_("Usually takes"), gettext("unknown: the statistics cannot be read."))]
    if known is None or known.runtime.p50 is None or known.runtime.p95 is None:
        return []
    words = gettext("%(p50)s; 95 %% of %(number)s within %(p95)s")
    number = formats.number_format(known.runtime.number, use_l10n=True, force_grouping=True)
    values = {"p50": took(known.runtime.p50), "p95": took(known.runtime.p95), "number": number}
    return [(_("Usually takes"), words % values)]


def chain_facts(payload: str) -> Facts:
    """Return where a step stands in its chain, and what waits behind it."""
    chain = chain_of(payload)
    if chain is None:
        return []
    place = gettext("step %(position)d of %(length)d") % chain._asdict()
    facts: Facts = [(_("Chain"), f"{place}, {chain.id}")]
    shown = ", ".join(f"{step.name} {ids.short(step.id)}" for step in chain.waiting)
    if shown:
        label = _("Broken: next, after a retry") if chain.broken else _("Next steps")
        more = chain.length - chain.position - len(chain.waiting)
        shown += gettext(", and %d more") % more if more > 0 else ""
        facts.append((label, text.one_line(shown, 10_000)))
    if chain.on_failure:
        facts.append((_("If a step fails"), text.one_line(chain.on_failure)))
    return facts


def held_back_fact(row: Any, *, visible: bool) -> Facts:
    """Return until when a limit holds the job back, and which limit it is if that is `visible`."""
    held = held_back(row.history, State(row.state), aware(row.available_at))
    if held is None or held.until is None:
        return []
    until = formats.date_format(timezone.localtime(held.until), "DATETIME_FORMAT")
    words = gettext("until %s") % until
    return [(_("Held back"), f"{words}. {text.one_line(masked_text(held.why)) if visible else ''}")]
