"""The test project for ASGI servers. It notes each of its statements, by its time, in a file."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application
from django.db.backends.signals import connection_created

NOTES = Path(os.environ["DJQUEUE_TEST_NOTES"])


def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    with NOTES.open("a") as file:
        file.write(f"{time.time()} {' '.join(sql.split())}\n")
    return execute(sql, params, many, context)


def opened(connection: Any, **kwargs: Any) -> None:
    if note not in connection.execute_wrappers:  # it may be opened again
        connection.execute_wrappers.append(note)


connection_created.connect(opened)
application = ASGIStaticFilesHandler(get_asgi_application())
