"""The check of a release notices what is missing."""

import runpy
import zipfile
from pathlib import Path

import pytest

from pytask.domain.version import __version__

ROOT = Path(__file__).parents[2]
CHECK = runpy.run_path(str(ROOT / ".ci" / "check_release.py"))


def wheel(folder, names):
    path = folder / "a.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "")
    return path


def test_a_wheel_with_all_files(tmp_path):
    names = {"pytask/py.typed", "pytask/adapters/redis/scripts/claim.lua"}
    CHECK["check_files"](names, CHECK["names_in_wheel"](wheel(tmp_path, names)), "a.whl")


def test_a_wheel_without_a_script(tmp_path):
    found = CHECK["names_in_wheel"](wheel(tmp_path, ["pytask/py.typed"]))
    with pytest.raises(
        CHECK["Wrong"], match=r"a\.whl lacks pytask/adapters/redis/scripts/claim\.lua \(1 files\)"
    ):
        CHECK["check_files"]({"pytask/py.typed", "pytask/adapters/redis/scripts/claim.lua"}, found, "a.whl")


def test_a_step_that_fails_fails_the_check():
    with pytest.raises(CHECK["Wrong"], match="trying failed with exit code 1"):
        CHECK["step"]("trying", ["false"])


def test_the_version_is_in_one_place():
    files = [
        path.relative_to(ROOT)
        for pattern in ("*.toml", "pytask/**/*.py", ".ci/*", "dev.py")
        for path in ROOT.glob(pattern)
        if f'"{__version__}"' in path.read_text("utf-8")
    ]
    assert files == [Path("pytask/domain/version.py")]
