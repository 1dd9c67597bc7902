"""The test project on an ASGI server."""

import os
import subprocess
import sys

from tests import support
from tests.services.server import HOST, free_port


class Site:
    """The test project, on uvicorn."""

    def __init__(self, folder):
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self.notes = folder / "notes"
        self.notes.touch()
        self.output = folder / "output"
        self.start()

    def start(self):
        command = [sys.executable, "-m", "uvicorn", "tests.results.site:application"]
        command += ["--port", str(self.port), "--timeout-graceful-shutdown", "1"]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=support.ROOT,
                env={**os.environ, **support.environment(), "DJQUEUE_TEST_NOTES": str(self.notes)},
                stdout=output,
                stderr=output,
            )
        support.wait_until(lambda: "running on" in self.output.read_text(), what="uvicorn")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def statements(self, since, until):
        """What it asked the database between two times."""
        lines = [line.split(" ", 1) for line in self.notes.read_text().splitlines()]
        return [sql for at, sql in lines if since <= float(at) <= until]
