"""djqueue's own system checks, in front of what would act on settings that cannot work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.management.base import CommandError

from djqueue import checks
from djqueue.text.printable import one_line

if TYPE_CHECKING:
    from argparse import ArgumentParser

__all__ = ["add_skip_checks", "refuse_errors"]


def add_skip_checks(parser: ArgumentParser) -> None:
    """``--skip-checks``, to run a command although a check fails."""
    parser.add_argument(
        "--skip-checks",
        action="store_true",
        dest="skip_own_checks",
        help="run although djqueue's system checks find an error",
    )


def refuse_errors(connection: str | None = None) -> None:
    """`CommandError` if djqueue's checks find an error; with `connection` only its driver's own."""
    found = checks.errors(connection)
    if found:
        listed = "\n".join(one_line(f"({each.id}) {each.msg} {each.hint or ''}") for each in found)
        raise CommandError(
            f"djqueue's system checks have found errors, so nothing was done:\n{listed}\n"
            "Correct them, or repeat with --skip-checks."
        )
