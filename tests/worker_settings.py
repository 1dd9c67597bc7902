"""Settings of a process that a test starts: those of the test, in the test's databases."""

from __future__ import annotations

import json
import os

from tests.settings import *  # noqa: F403

globals().update(json.loads(os.environ["DJQUEUE_TEST_SETTINGS"]))
