#!/usr/bin/env python3
"""Everything a contributor runs, from a bare Python 3.11 or newer.

    python3 dev.py demo [arguments of `pytask demo`]
    python3 dev.py test [arguments of pytest]      with arguments, the lints are left out
    python3 dev.py unit [arguments of pytest]      ruff, mypy, unit tests and the contract in memory
    python3 dev.py coverage [arguments of pytest]  the lines and branches that the same tests reach
    python3 dev.py fix                             what ruff can correct by itself
    python3 dev.py lint
    python3 dev.py docs                            the site, into build/site
    python3 dev.py bench [arguments of the benchmarks]
    python3 dev.py release --check                 builds a release, and runs the demo from its wheel

The first run builds `.venv` next to this file; later runs find it as it should be and start at once.
"""

from __future__ import annotations  # so that an older Python gets as far as being told

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, NoReturn

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / "bin"
PYTHON = BIN / "python"
STAMP = VENV / "installed.json"

# The dependency groups that each command needs on top of the package itself.
GROUPS = {
    "demo": (),
    "test": ("docs", "lint", "test"),
    "unit": ("lint", "test"),
    "coverage": ("test",),
    "fix": ("lint",),
    "lint": ("docs", "lint"),
    "docs": ("docs",),
    "bench": ("test",),
    "release": ("release",),
}

# Dependency groups are known to pip since 25.1.
PIP_IS_NEW = "import pip; assert tuple(map(int, pip.__version__.split('.')[:2])) >= (25, 1)"

LINTS = {
    "ruff check": [BIN / "ruff", "check", "."],
    "ruff format": [BIN / "ruff", "format", "--check", "."],
    "mypy": [PYTHON, "-m", "mypy", "--strict", "pytask"],
    "import-linter": [BIN / "lint-imports"],
    "types of the examples": [PYTHON, ROOT / "docs" / "check_types.py"],
    "site": [PYTHON, "-m", "mkdocs", "build", "--strict"],
}
QUICK_LINTS = ("ruff check", "mypy")
PYTEST = [PYTHON, "-m", "pytest"]
UNIT = ["-q", "tests/unit", "tests/contract", "-k", "unit or memory"]
COVERAGE = ["--cov=pytask", "--cov-branch", "--cov-report=term"]


def main(arguments: list[str]) -> int:
    """Run one command; return the exit code."""
    if not arguments or arguments[0] not in GROUPS:
        asked = arguments in (["-h"], ["--help"])
        print(__doc__, file=sys.stdout if asked else sys.stderr)
        return 0 if asked else 2
    command, rest = arguments[0], arguments[1:]
    os.chdir(ROOT)
    os.environ.setdefault("NO_MKDOCS_2_WARNING", "1")  # an advertisement that reads like an error
    prepare(GROUPS[command])
    return COMMANDS[command](rest)


def demo(arguments: list[str]) -> int:
    """Run the demo, 40 seconds of it unless told otherwise."""
    code = run([BIN / "pytask", "demo", *(arguments or ["--for", "40"])])
    print("demo: finished" if code == 0 else f"demo: failed with exit code {code}", flush=True)
    return code


def test(arguments: list[str]) -> int:
    """Run the lints, then pytest; pytest comes last so that its summary is the last line."""
    if arguments:
        replace([*PYTEST, *arguments])
    # Hundreds of processes start: where PYTHONDONTWRITEBYTECODE is set, each would compile every module.
    run([PYTHON, "-m", "compileall", "-q", "pytask", "tests", "conformance", "benchmarks"])
    return lint([]) or replace(PYTEST)


def unit(arguments: list[str]) -> int:
    """Run what needs neither servers nor waiting, in under half a minute."""
    return check(QUICK_LINTS) or replace([*PYTEST, *UNIT, *arguments])


def coverage(arguments: list[str]) -> int:
    """Run what `unit` runs, and show what no test reaches; it makes these tests twice as slow."""
    replace([*PYTEST, *UNIT, *COVERAGE, *arguments])


def fix(_arguments: list[str]) -> int:
    """Let ruff correct and format what it can."""
    return run([BIN / "ruff", "check", "--fix", "."]) | run([BIN / "ruff", "format", "."])


def lint(_arguments: list[str]) -> int:
    """Run every lint."""
    return check(LINTS)


def docs(_arguments: list[str]) -> int:
    """Build the site; a link that leads nowhere is an error."""
    code = check(["site"])
    if code == 0:
        print("dev.py: built build/site; to read it: python3 -m http.server -d build/site", flush=True)
    return code


def check(names: Iterable[str]) -> int:
    """Run these lints side by side, and show what each printed, in this order; 1 if any failed."""
    failed = []
    with contextlib.ExitStack() as stack:
        running = [(name, *stack.enter_context(background(LINTS[name]))) for name in names]
        for name, child, output in running:
            code = wait(child)
            output.seek(0)
            print(f"--- {name}\n{output.read().decode(errors='replace')}", end="", flush=True)
            if code != 0:
                failed.append(name)
    if failed:
        print(f"dev.py: lint failed: {', '.join(failed)}", file=sys.stderr, flush=True)
    return 1 if failed else 0


def bench(arguments: list[str]) -> int:
    """Run the package `benchmarks`."""
    replace([PYTHON, "-m", "benchmarks", *arguments])


def release(arguments: list[str]) -> int:
    """Build what would be released, and try it; nothing is uploaded."""
    if arguments != ["--check"]:
        fail("this only checks a release: python3 dev.py release --check")
    return run([PYTHON, ROOT / ".ci" / "check_release.py"])


def prepare(groups: tuple[str, ...]) -> None:
    """Bring `.venv` to what pyproject.toml asks for; call pip only if that changed."""
    digest = fingerprint()
    known = read_stamp()
    if known["digest"] == digest and set(groups) <= set(known["groups"]):
        return
    if known["python"] != sys.version or not PYTHON.exists():
        create_venv()
    else:
        groups = tuple(sorted({*groups, *known["groups"]}))
    STAMP.unlink(missing_ok=True)  # a half-done installation must not pass for a whole one
    install(groups)
    STAMP.write_text(json.dumps({"digest": digest, "groups": groups, "python": sys.version}))


def fingerprint() -> str:
    """Digest of all that decides what belongs in `.venv`, its own path included."""
    parts = [(ROOT / "pyproject.toml").read_bytes(), sys.version.encode(), str(VENV).encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def read_stamp() -> dict:
    """What the last installation left behind; empty values if there was none."""
    try:
        return json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {"digest": "", "groups": [], "python": ""}


def create_venv() -> None:
    """Build `.venv` afresh."""
    print(f"dev.py: creating {VENV}", flush=True)
    # Debian ships venv without ensurepip, and only the latter's absence shows it.
    if run([sys.executable, "-c", "import venv, ensurepip"], stderr=subprocess.DEVNULL) != 0:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        fail(
            f"this Python ({sys.executable}) cannot create virtual environments.\n"
            f"On Debian or Ubuntu: sudo apt install python{version}-venv"
        )
    if run([sys.executable, "-m", "venv", "--clear", VENV]) != 0:
        fail(f"could not create {VENV}; the lines above say why")


def install(groups: tuple[str, ...]) -> None:
    """Install the package, editable, with the embedded server and the given groups."""
    print("dev.py: installing " + ", ".join(["pytaskd[embedded]", *groups]), flush=True)
    pip = [PYTHON, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    if run([PYTHON, "-c", PIP_IS_NEW], stderr=subprocess.DEVNULL) != 0:
        require_packages(run([*pip, "install", "--upgrade", "pip>=25.1"]))
    wanted = [argument for group in groups for argument in ("--group", group)]
    require_packages(run([*pip, "install", "--editable", ".[embedded]", *wanted]))


def require_packages(exit_code: int) -> None:
    """End if pip failed; its own lines stand above."""
    if exit_code != 0:
        fail(
            "pip could not install the packages; the lines above say why.\n"
            "The first run needs the network: behind a proxy set HTTPS_PROXY, with a mirror PIP_INDEX_URL."
        )


def run(command: list, stderr: int | None = None) -> int:
    """Run a command to its end and return its exit code.

    Ctrl-C reaches the child by itself, so it is only waited for; a SIGTERM is handed on.
    """
    sys.stdout.flush()
    return wait(subprocess.Popen(command, stderr=stderr))


@contextlib.contextmanager
def background(command: list) -> Iterator[tuple[subprocess.Popen, IO[bytes]]]:
    """A command that runs meanwhile, and a file with its output; it is ended if it is not waited for."""
    with tempfile.TemporaryFile() as output:
        child = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield child, output
        finally:
            child.terminate()
            wait(child)


def wait(child: subprocess.Popen) -> int:
    """The exit code of a child, as a shell tells it."""
    before = signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    try:
        while True:
            try:
                code = child.wait()
            except KeyboardInterrupt:
                continue
            return code if code >= 0 else 128 - code
    finally:
        signal.signal(signal.SIGTERM, before)


def replace(command: list) -> NoReturn:
    """Become the command: its last line is ours, and so is its exit code."""
    sys.stdout.flush()
    os.execv(command[0], command)


def fail(message: str) -> NoReturn:
    """End with a message for a person."""
    print(f"dev.py: {message}", file=sys.stderr)
    sys.exit(1)


COMMANDS = {
    "demo": demo,
    "test": test,
    "unit": unit,
    "coverage": coverage,
    "fix": fix,
    "lint": lint,
    "docs": docs,
    "bench": bench,
    "release": release,
}


if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036 - an older Python is told, not left to a traceback
        fail("pytask needs Python 3.11 or newer; this is " + sys.version.split()[0])
    sys.exit(main(sys.argv[1:]))
