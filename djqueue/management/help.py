"""``--help`` as a page of a manual: what the command does, its options, and examples."""

from __future__ import annotations

import shutil
import textwrap
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence

from django.core.management.base import DjangoHelpFormatter

__all__ = ["ManPage", "describe"]


class ManPage(DjangoHelpFormatter, RawDescriptionHelpFormatter):
    """Keeps the lines of the examples as they are."""


def describe(parser: ArgumentParser, text: str, examples: Sequence[str]) -> None:
    """Let the help begin with `text`, and end with `examples`: command lines without what starts
    Django's commands.
    """
    room = max(min(shutil.get_terminal_size().columns - 2, 100), 40)
    parser.description = textwrap.fill(text, room)
    lines = [f"  python manage.py {example}" for example in examples]
    parser.epilog = "\n".join(["examples:", *lines])
