"""Settings as `startproject` makes them; the database is the one that is measured."""

from __future__ import annotations

import json
import os
from typing import Any

STORE = json.loads(os.environ["BENCH_STORE"])

SECRET_KEY = "not a secret: it is for benchmarks"
DEBUG = False
ALLOWED_HOSTS: list[str] = []
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "djqueue",
    "benchmarks.project.apps.ProjectConfig",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]

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
STATIC_URL = "static/"
ROOT_URLCONF = "benchmarks.project.urls"


def _database() -> dict[str, Any]:
    engines = {"postgresql": "postgresql", "mariadb": "mysql"}
    engine = engines.get(STORE["vendor"])
    if engine is None:
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": STORE["name"]}
    if engine == "mysql":
        from tests.databases import use_pymysql_for_mysqlclient

        use_pymysql_for_mysqlclient()
    return {
        "ENGINE": f"django.db.backends.{engine}",
        "NAME": STORE["name"],
        "USER": STORE["user"],
        "PASSWORD": STORE["password"],
        "HOST": STORE["host"],
        "PORT": STORE["port"],
    }


def _connection() -> dict[str, Any]:
    if STORE["vendor"] == "redis":
        return {"DRIVER": "redis", "URL": STORE["url"]}
    if STORE["vendor"] == "beanstalkd":
        host, port = STORE["host"], STORE["port"]
        return {"DRIVER": "beanstalkd", "HOST": host, "PORT": port}
    return {"DRIVER": "database"}


DATABASES = {"default": _database()}
_MAIN = _connection()
DJQUEUE: dict[str, Any] = {
    "DEFAULT": "main",
    "CONNECTIONS": {"main": _MAIN},
    **json.loads(os.environ.get("BENCH_SETTINGS", "{}")),
}
if _MAIN["DRIVER"] == "database" and not STORE.get("alone"):
    DJQUEUE["CONNECTIONS"] |= {
        "single": {**_MAIN, "WINDOW": 1},
        "polling": {**_MAIN, "LISTEN": False},
        "timed": {**_MAIN, "DRIVER": "benchmarks.project.timed.TimedDriver"},
    }
