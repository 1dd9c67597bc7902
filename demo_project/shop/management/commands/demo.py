from __future__ import annotations

import contextlib
import fcntl
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand

from demo_project.shop.story import QUEUES, Story
from djqueue import queues

ROOT = settings.HERE.parent


class Command(BaseCommand):
    help = "Show what djqueue does: dispatch jobs, work on them, retry one that failed."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.epilog = "Start it as often as you like: each run begins where the first began."

    def handle(self, *args: Any, **options: Any) -> None:
        with self._alone():
            call_command("migrate", verbosity=0)
            story = Story(self.say)
            story.begin_anew()
            self.heading("The shop dispatches jobs")
            story.dispatch()
            if not queues[None].driver.capabilities.inline:
                self._work_and_retry(story)
            self.heading("What they made")
            story.show_results(ROOT)
            self._your_turn(story)

    def _work_and_retry(self, story: Story) -> None:
        self.manage("queue_status")
        self.heading("A worker runs them: it reads the queues from left to right")
        self._work()
        while story.wait_for_retry():
            self._work()
        self.heading("Two jobs failed: customers have no address")
        self.manage("queue_failed")
        self.say("")
        self.say("Dora tells us her address. Her order's job is retried and runs again:")
        self.manage("queue_retry", story.mend("Dora"))
        self._work()

    def _work(self) -> None:
        self.manage("queue_work", "--queue", ",".join(QUEUES), "--stop-when-empty")

    def _your_turn(self, story: Story) -> None:
        self.heading("Your turn")
        manage = f"{relative(Path(sys.executable))} manage.py"
        failed = story.failed_of("Emil")
        if failed:
            self.say("Emil's job is still failed. Give him an address in the admin, then:")
            self.say(f"    {manage} queue_retry {failed}")
            self.say(f"    {manage} queue_work --stop-when-empty")
        self.say("Open the admin at http://127.0.0.1:8000/admin/ (user demo, password demo) with:")
        self.say(f"    {manage} runserver")
        self.say(
            "While a worker runs, import a table at http://127.0.0.1:8000/import/, or register"
        )
        self.say("and order at http://127.0.0.1:8000/register/.")
        self.say("What was sent to whom is at http://127.0.0.1:8000/customers/.")
        self.say(
            f"The jobs are in demo_project/shop/jobs.py. All of this is in {story.folder(ROOT)}."
        )

    # -- printing ------------------------------------------------------------------------------

    def heading(self, text: str) -> None:
        self.say("")
        self.say(self.style.MIGRATE_HEADING(f"== {text}"))

    def say(self, text: str) -> None:
        self.stdout.write(text)

    def manage(self, *arguments: str) -> None:
        """Run a command as one would by hand, in a process of its own, and show it."""
        self.say(self.style.HTTP_INFO(f"$ python manage.py {' '.join(arguments)}"))
        self.stdout.flush()
        subprocess.run([sys.executable, str(ROOT / "manage.py"), *arguments], check=True)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Two demonstrations share a folder: the second waits for the first."""
        with (settings.FOLDER / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                self.say("Another demonstration runs here. This one begins when it is done.")
                self.stdout.flush()
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def relative(path: Path) -> str:
    """As one would type it here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
