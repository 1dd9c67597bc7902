"""Settings of workers that look for problems every half second, not every 30."""

from djqueue.notify import watch
from tests.worker_settings import *  # noqa: F403

watch.EVERY = 0.5
watch.QUIET = 1.0
