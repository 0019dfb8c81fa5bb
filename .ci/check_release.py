"""Build sdist and wheel into build/release, install the wheel somewhere else, and run the demo from it.

`python3 dev.py release --check` runs this.  Exits with 1, and says why, where a release would not work.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
RELEASE = ROOT / "build" / "release"
DEMO_SECONDS = "40"


class Wrong(Exception):
    """What is wrong with the release."""


def main() -> int:
    """Do it all."""
    try:
        sdist, wheel = build()
        version = wheel.name.split("-")[1]
        check_files(tracked("pytask"), names_in_wheel(wheel), wheel.name)
        check_files(tracked("."), names_in_sdist(sdist), sdist.name)
        try_wheel(wheel, version)
    except Wrong as error:
        print(f"release: {error}", file=sys.stderr, flush=True)
        return 1
    print(
        f"release: {version} is fine: {sdist.name}, {wheel.name} in {RELEASE.relative_to(ROOT)}", flush=True
    )
    return 0


def build() -> tuple[Path, Path]:
    """The sdist, and the wheel that is built from it."""
    shutil.rmtree(RELEASE, ignore_errors=True)
    step("building", [sys.executable, "-m", "build", "--outdir", RELEASE, ROOT], stdout=subprocess.DEVNULL)
    (sdist,), (wheel,) = RELEASE.glob("*.tar.gz"), RELEASE.glob("*.whl")
    return sdist, wheel


def tracked(folder: str) -> set[str]:
    """The files of the repository: the scripts in Lua, py.typed and texts among them."""
    listed = subprocess.run(["git", "ls-files", folder], cwd=ROOT, check=True, capture_output=True, text=True)
    return set(listed.stdout.splitlines())


def names_in_wheel(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def names_in_sdist(sdist: Path) -> set[str]:
    """Without the folder that they are all in."""
    with tarfile.open(sdist) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def check_files(wanted: set[str], found: set[str], where: str) -> None:
    missing = sorted(wanted - found)
    if missing:
        raise Wrong(f"{where} lacks {', '.join(missing[:10])} ({len(missing)} files)")


def try_wheel(wheel: Path, version: str) -> None:
    """Install it where nothing of the clone can be found, and use it."""
    with TemporaryDirectory() as folder:
        step("making an environment", [sys.executable, "-m", "venv", f"{folder}/env"])
        python, pytask = f"{folder}/env/bin/python", f"{folder}/env/bin/pytask"
        step("installing", [python, "-m", "pip", "install", "--quiet", f"{wheel}[embedded]"], cwd=folder)
        for what in ([python, "-c", "import pytask; print(pytask.__version__)"], [pytask, "--version"]):
            told = step("asking for the version", what, cwd=folder, capture_output=True, text=True).stdout
            if told.split()[-1] != version:
                raise Wrong(f"the wheel is {version}, and says {told.strip()!r}")
        step("running the demo", [pytask, "demo", "--for", DEMO_SECONDS], cwd=folder)


def step(what: str, command: list, **options) -> subprocess.CompletedProcess:
    """Run a command that has to succeed, without the settings of the shell that would lead to the clone."""
    print(f"--- {what}", flush=True)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTASK"))}
    done = subprocess.run(command, env=clean, check=False, **options)
    if done.returncode != 0:
        raise Wrong(f"{what} failed with exit code {done.returncode}")
    return done


if __name__ == "__main__":
    sys.exit(main())
