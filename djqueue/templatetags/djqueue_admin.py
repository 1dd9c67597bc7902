"""Template tags of the admin pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import template
from django.utils.html import format_html

if TYPE_CHECKING:
    from django.forms import Media
    from django.utils.safestring import SafeString

register = template.Library()


@register.simple_tag(takes_context=True)
def djqueue_styles(context: template.Context, media: Media) -> SafeString | str:
    """The style sheets of `media`, with the request's nonce where a policy asks for one.

    The nonce is that of Django's ``csp`` context processor or of django-csp; Django has a tag of
    its own for this from version 6.1 only.
    """
    nonce: Any = context.get("csp_nonce") or getattr(context.get("request"), "csp_nonce", "")
    links = [
        format_html(
            '<link rel="stylesheet" href="{}"{}>',
            media.absolute_path(path),
            format_html(' nonce="{}"', nonce) if nonce else "",
        )
        for path in media._css.get("all", ())
    ]
    return format_html("{}" * len(links), *links) if links else ""
