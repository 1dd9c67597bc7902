"""What an action did, in words: what changed, what did not, why, and what to do next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.contrib import messages
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.translation import gettext

from djqueue.admin.overview.finding import address, may_find
from djqueue.text import printable as text
from djqueue.text.masking import masked_text

if TYPE_CHECKING:
    from django.http import HttpRequest

    from djqueue.compat import LazyText
    from djqueue.operations.results import Reason, Result

    Words = str | LazyText


@dataclass(frozen=True)
class Wording:
    """How an action reports. Each function takes a count for its plural form."""

    done: Callable[[int], str]
    """"Deleted 3 jobs." without the full stop."""
    left: Callable[[int], str]
    """"3 jobs were not deleted" without the reason."""
    after: Callable[[int], str] = lambda count: ""
    """What to know once it is done."""
    follow: bool = False
    """Whether the job lives on, so that one that was changed alone may be followed by a link."""
    hints: Mapping[Reason, Words] = field(default_factory=dict)
    """What to do about a row that was left, for some reasons."""


def tell(request: HttpRequest, site: str, wording: Wording, result: Result) -> None:
    """Show the result as messages, with links to pages of the admin `site`."""
    if result.changed:
        count = len(result.changed)
        said = f"{wording.done(count)}. {wording.after(count)}".rstrip()
        url = address(site, result.changed[0].id[-36:])  # a key ends with the id
        if wording.follow and count == 1 and url and may_find(request.user):
            link = gettext("See what becomes of it")
            said = format_html('{} <a href="{}">{}</a>', said, url, link)
        messages.success(request, said)
    for reason, left in result.reasons:
        why = left[0].why if len(left) == 1 else str(reason.many)
        message = f"{wording.left(len(left))}: {why} {wording.hints.get(reason, '')}".rstrip()
        messages.warning(request, text.one_line(masked_text(message)))


def more_than(limit: int) -> str:
    """Return the remark that more rows match than one request acts on."""
    template = gettext(
        "More rows match than the %(limit)s that one request acts on. The others are as they were:"
        " do it again for them, or use a command."
    )
    return template % {"limit": number_format(limit, use_l10n=True, force_grouping=True)}


def plural(text: LazyText) -> Callable[[int], str]:
    """Return a function that counts in the language of the request. `text` is an `ngettext_lazy` of
    ``count``.
    """
    return lambda count: str(text % {"count": count})
