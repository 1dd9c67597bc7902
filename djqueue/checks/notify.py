"""Whether those in ``NOTIFY`` can be reached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings as django_settings
from django.core import checks
from django.utils.module_loading import import_string

from djqueue.conf import settings
from djqueue.notify.receivers import MAIL, is_url

if TYPE_CHECKING:
    from collections.abc import Iterator

WHERE = 'DJQUEUE["NOTIFY"]'


def check_notify(**_: Any) -> Iterator[checks.CheckMessage]:
    """Check that mail has addresses, and that functions exist."""
    for receiver in settings().notify.receivers:
        if receiver == MAIL:
            if not django_settings.ADMINS:
                yield checks.Warning(
                    f'{WHERE} has "mail", and ADMINS is empty: it goes to no address.',
                    hint="Name people in ADMINS.",
                    id="djqueue.W026",
                )
        elif not is_url(receiver):
            try:
                callable_ = callable(import_string(receiver))
            except ImportError:
                callable_ = False
            if not callable_:
                yield checks.Error(
                    f'{WHERE} has "{receiver}", which is neither "mail", nor a URL, nor the path of'
                    " a function.",
                    hint='Correct it, as in "shop.alerts.page_me", or remove it.',
                    id="djqueue.E036",
                )
