"""The catalogues of the admin's languages hold what the code says, translated, and are compiled.
`make messages` brings them up to date.
"""

from __future__ import annotations

import gettext
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import djqueue
from tests.services.programs import GETTEXT, MissingProgram, require

PACKAGE = Path(djqueue.__file__).parent
CATALOGUES = sorted((PACKAGE / "locale").glob("*/LC_MESSAGES/django.po"))
EACH = pytest.mark.parametrize("catalogue", CATALOGUES, ids=lambda path: path.parts[-3])


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A copy of the package whose catalogues have just been made from its code."""
    try:
        require(GETTEXT)
    except MissingProgram as missing:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(missing))
    root = tmp_path_factory.mktemp("catalogues")
    shutil.copytree(PACKAGE, root / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    environment = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
    languages = [f"--locale={each.parts[-3]}" for each in CATALOGUES]
    command = [sys.executable, "-m", "django", "makemessages", *languages]
    options = ["--no-location", "--no-obsolete", "--verbosity=0"]
    subprocess.run([*command, *options], cwd=root, env=environment, check=True)
    return root / PACKAGE.name


def _texts(compiled: Path) -> dict[object, str]:
    with compiled.open("rb") as file:
        texts = dict(gettext.GNUTranslations(file)._catalog)  # type: ignore[attr-defined]
    texts.pop("")  # the head, which has the date
    return texts


def _compile(source: Path, target: Path) -> str:
    command = ["msgfmt", "--check", "--statistics", "-o", str(target), str(source)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stderr


def test_there_are_three_languages_beside_english():
    assert [path.parts[-3] for path in CATALOGUES] == ["de", "ja", "ko"]


@EACH
def test_every_text_is_translated_and_none_is_left_of_old_ones(catalogue, fresh, tmp_path):
    made = fresh / catalogue.relative_to(PACKAGE)
    said = _compile(made, tmp_path / "made.mo")
    assert re.fullmatch(r"\d+ translated messages\.\n", said), f"{said} Run `make messages`."
    _compile(catalogue, tmp_path / "kept.mo")
    assert _texts(tmp_path / "made.mo") == _texts(tmp_path / "kept.mo")


@EACH
def test_it_is_compiled(catalogue, fresh, tmp_path):
    _compile(catalogue, tmp_path / "now.mo")
    assert _texts(tmp_path / "now.mo") == _texts(catalogue.with_suffix(".mo"))
