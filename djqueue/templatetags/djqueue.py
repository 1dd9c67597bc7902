"""Template tags for the pages of a project: how far a job has come, and what it returned.

    {% load djqueue %}
    {% job_progress dispatched %}
    {% job_progress_script %}

They need ``djqueue.urls`` among the URLs of the project.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django import template
from django.templatetags.static import static
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext

if TYPE_CHECKING:
    from django.utils.safestring import SafeString

register = template.Library()


@register.simple_tag
def job_progress(job: object) -> SafeString:
    """Return a progress bar of a job, a `DispatchedJob` or its id. The script keeps it up to date;
    ``data-status`` of its element is the job's status.
    """
    url = reverse("djqueue:result", args=[getattr(job, "id", job)])
    return format_html(
        '<div class="djqueue-progress" data-djqueue-url="{}" data-status="waiting">'
        '<progress max="100" value="0" aria-label="{}"></progress> <span role="status"></span>'
        "</div>",
        url,
        gettext("Progress"),
    )


@register.simple_tag(takes_context=True)
def job_progress_script(context: template.Context) -> SafeString:
    """Return the script that all bars of a page need once, with the request's nonce where a policy
    asks for one.
    """
    nonce = context.get("csp_nonce") or getattr(context.get("request"), "csp_nonce", "")
    attribute = format_html(' nonce="{}"', nonce) if nonce else ""
    path = static("djqueue/progress.js")
    return format_html('<script src="{}" defer{}></script>', path, attribute)
