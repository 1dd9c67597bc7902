"""Template tags of the admin pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django import template
from django.templatetags.static import static
from django.utils.html import format_html

from djqueue.admin.lists.words import exactly
from djqueue.admin.overview.reading import counted

if TYPE_CHECKING:
    import datetime as dt

    from django.utils.safestring import SafeString

register = template.Library()


@register.simple_tag(takes_context=True)
def djqueue_style(context: template.Context, path: str) -> SafeString:
    """A style sheet, with the request's nonce where a policy asks for one.

    The nonce is that of Django's ``csp`` context processor or of django-csp; Django has a tag of
    its own for this from version 6.1 only.
    """
    return format_html('<link rel="stylesheet" href="{}"{}>', static(path), _nonce(context))


@register.simple_tag(takes_context=True)
def djqueue_script(context: template.Context, path: str) -> SafeString:
    """A script of ours, with the request's nonce as `djqueue_style` has it."""
    return format_html('<script src="{}" defer{}></script>', static(path), _nonce(context))


@register.filter
def djqueue_counted(number: int) -> int | str:
    """A number of the overview, as in ``10,000+`` where no more are counted."""
    return counted(number)


@register.filter
def djqueue_time(value: dt.datetime | None) -> SafeString | str:
    """A time in the current zone, and in UTC on hover."""
    return exactly(value)


def _nonce(context: template.Context) -> SafeString | str:
    nonce = context.get("csp_nonce") or getattr(context.get("request"), "csp_nonce", "")
    return format_html(' nonce="{}"', nonce) if nonce else ""
