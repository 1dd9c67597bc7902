"""What pip installs is all of djqueue, and nothing else."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# What the build reads. It is copied first, because a build leaves files behind.
SOURCES = ("djqueue", "setup.cfg", "pyproject.toml", "LICENSE", "README.md")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("build")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, folder / name, ignore=ignored)
        elif source.exists():
            shutil.copy(source, folder / name)
    script = "from setuptools import build_meta; print(build_meta.build_wheel('.'))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with zipfile.ZipFile(folder / done.stdout.split()[-1]) as file:
        yield file


@pytest.fixture(scope="module")
def metadata(wheel):
    name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return message_from_string(wheel.read(name).decode())


@pytest.fixture
def setup_cfg():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def test_the_wheel_has_every_file_of_the_package(wheel):
    ours = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "djqueue").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == ours


def test_every_folder_with_modules_is_a_package():
    folders = {path.parent for path in (ROOT / "djqueue").rglob("*.py")}
    assert not [str(folder) for folder in folders if not (folder / "__init__.py").exists()]


def test_types_are_published():
    assert (ROOT / "djqueue" / "py.typed").exists()


def test_the_license_is_declared_and_packed(wheel, metadata):
    assert metadata["License-Expression"] == "MIT"
    assert any(name.endswith("licenses/LICENSE") for name in wheel.namelist())


def test_the_version_is_that_of_the_module(metadata):
    text = (ROOT / "djqueue" / "__init__.py").read_text()
    version = re.search(r'^__version__(?:: \w+)? = "(.+)"$', text, re.MULTILINE)
    assert version is not None, "it must be a literal: a build has no Django to import"
    assert metadata["Version"] == version[1]


def test_pytest_finds_the_plugin(wheel):
    name = next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "djqueue = djqueue.pytest_plugin" in wheel.read(name).decode()


def test_only_django_is_needed_without_extras(metadata):
    needed = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    names = {re.match(r"[\w-]+", line)[0] for line in needed}
    assert names == {"Django", "typing_extensions"}
    assert metadata["Requires-Python"] == ">=3.10"


def test_errors_name_extras_that_exist(metadata):
    extras = set(metadata.get_all("Provides-Extra"))
    for path in (ROOT / "djqueue").rglob("*.py"):
        for named in re.findall(r"djqueue\[([a-z,]+)\]", path.read_text()):
            assert set(named.split(",")) <= extras, path


def test_metadata_is_in_setup_cfg_alone(setup_cfg):
    assert setup_cfg["metadata"]["name"] == "djqueue"
    assert "\n[project" not in (ROOT / "pyproject.toml").read_text()
    assert not (ROOT / "setup.py").exists()


def test_the_changelog_has_the_version_or_says_unreleased(metadata):
    text = (ROOT / "CHANGELOG.md").read_text()
    assert "## [Unreleased]" in text or f"## [{metadata['Version']}]" in text
