"""Those of the tests, with the theme DJQUEUE_TEST_THEME in a database of its own."""

from __future__ import annotations

import os

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS as _APPS

INSTALLED_APPS = [os.environ["DJQUEUE_TEST_THEME"], *_APPS]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["DJQUEUE_TEST_THEME_FILE"],
        "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE"},
    }
}
DEBUG = True  # the site serves its own static files
ROOT_URLCONF = "tests.admin.browser.themes.urls"
DATABASE_ROUTERS: list[str] = []
