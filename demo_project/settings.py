"""Settings of the demonstration: SQLite, and everything it makes in one folder.

Environment: QUEUE_CONNECTION is the connection that jobs go to (database, or sync to run each at
once), DEMO_FOLDER is where the database and what jobs make are kept (demo_project/var).
"""

from __future__ import annotations

import os
from pathlib import Path

import django

HERE = Path(__file__).resolve().parent
FOLDER = Path(os.environ.get("DEMO_FOLDER", HERE / "var")).resolve()
FOLDER.mkdir(parents=True, exist_ok=True)

SECRET_KEY = "everybody knows it: for the demonstration only"
DEBUG = True
USE_TZ = True
TIME_ZONE = "UTC"
ROOT_URLCONF = "demo_project.urls"
STATIC_URL = "/static/"
MEDIA_ROOT = FOLDER / "files"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DEFAULT_FROM_EMAIL = "The shop <shop@example.com>"

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": FOLDER / "db.sqlite3",
        # The site and its workers write to one file: wait for each other, and say so at BEGIN.
        "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE"},
    }
}

DJQUEUE = {
    "DEFAULT": os.environ.get("QUEUE_CONNECTION", "database"),
    "CONNECTIONS": {
        "database": {"DRIVER": "database"},
        "sync": {"DRIVER": "sync"},
    },
}

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "djqueue",
    "demo_project.shop",
]

MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "djqueue.http.ContextMiddleware",
]
LOGIN_URL = "admin:login"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# Every mail becomes a file.
_FILES = "django.core.mail.backends.filebased.EmailBackend"
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": _FILES, "OPTIONS": {"file_path": FOLDER / "mail"}}}
else:
    EMAIL_BACKEND = _FILES
    EMAIL_FILE_PATH = FOLDER / "mail"
