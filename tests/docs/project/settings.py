"""The project in which the blocks of the documentation run."""

from __future__ import annotations

import os

import django

SECRET_KEY = "not a secret: it is for tests"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["DOCS_DATABASE"]},
}
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "djqueue",
    "tests.docs.project.shop",
]

DJQUEUE = {"CLOSURE_KEYS": ["a key for the examples, which has no secrets"]}

if django.VERSION >= (6, 1):  # which warns of EMAIL_BACKEND
    MAILERS = {"default": {"BACKEND": "django.core.mail.backends.smtp.EmailBackend"}}
