"""A command of a project, for jobs that run it."""

import sys

from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    """Says what it is given, and ends as it is told."""

    def add_arguments(self, parser):
        parser.add_argument("words", nargs="+")
        parser.add_argument("--times", type=int, default=1)
        parser.add_argument("--no-input", action="store_false", dest="interactive")
        parser.add_argument("--end", choices=["exit", "text", "error", "raise"])

    def handle(self, *args, **options):
        for _ in range(options["times"]):
            self.stdout.write(" ".join(options["words"]))
        print("printed")
        self.stderr.write("to stderr")
        if options["interactive"]:
            input("Sure? ")
        if options["end"] == "exit":
            sys.exit(3)
        if options["end"] == "text":
            sys.exit("a reason")
        if options["end"] == "error":
            raise CommandError("refused", returncode=4)
        if options["end"] == "raise":
            raise LookupError("not there")
