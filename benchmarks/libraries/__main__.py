"""Measure how libraries behave in tasks, and write the table of docs/libraries.md.

    python -m benchmarks.libraries                      all; prints the table
    python -m benchmarks.libraries NAME... [options]    rows whose name contains one of these
    python -m benchmarks.libraries --write              also writes it into docs/libraries.md

Each library is measured in its own worker.  All are installed, in the versions of requirements.txt, into an
environment that is kept for later runs.  The servers come from the dependencies of the tests.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import signal
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from benchmarks.libraries import coroutine_table, table
from benchmarks.libraries.measure import Facts, Place, here
from benchmarks.libraries.registry import ROWS
from benchmarks.place import CACHE

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
PAGE = Path(__file__).parents[2] / "docs" / "libraries.md"


def main(arguments: list[str]) -> None:
    """Measure the requested rows."""
    options = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers end as well
    python = here() if options.here else environment(options.cache / "libraries")
    names = [name for name in ROWS if chosen(name, options.names)]
    found: dict[str, Facts] = json.loads(options.update.read_text()) if options.update else {}
    with (
        tempfile.TemporaryDirectory(prefix="pytask-libraries-") as folder,
        Place(python, Path(folder)) as place,
    ):
        for name in names:
            found[name] = place.row(ROWS[name])
            kind = coroutine_table if ROWS[name].coroutine else table
            print(kind.row(ROWS[name], found[name], versions()), flush=True)
            if options.json:
                options.json.write_text(json.dumps(found, indent=1))
    if options.write:
        write(found)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="benchmarks.libraries", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("names", nargs="*", metavar="NAME")
    made.add_argument("--here", action="store_true", help="use this interpreter and its installed packages")
    made.add_argument("--json", type=Path, help="write the measurements (seconds and counts) into this file")
    made.add_argument("--update", type=Path, metavar="JSON", help="keep the other rows of that file")
    made.add_argument("--write", action="store_true", help="write the table into docs/libraries.md")
    made.add_argument("--cache", type=Path, default=CACHE, help=f"for the environment  [default: {CACHE}]")
    return made


def chosen(name: str, parts: list[str]) -> bool:
    """Whether a row is requested."""
    return not parts or any(part == name if part in ROWS else part.lower() in name.lower() for part in parts)


def versions() -> dict[str, str]:
    """The pinned version of each distribution."""
    return dict(re.findall(r"^([\w.-]+)(?:\[\w+\])?==(\S+)$", REQUIREMENTS.read_text(), re.MULTILINE))


def environment(folder: Path) -> Path:
    """The interpreter of an environment with all libraries, rebuilt when the requirements change."""
    python, stamp = folder / "bin" / "python", folder / "requirements"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", REQUIREMENTS], check=True)
        stamp.write_text(wanted)
    return python


def write(found: dict[str, Facts]) -> None:
    """Insert the tables between their markers of the page; a kind that was not measured stays as it is."""
    text = PAGE.read_text()
    for kind in (table, coroutine_table):
        if any(ROWS[name].coroutine == (kind is coroutine_table) for name in found):
            head, _, rest = text.partition(kind.BEGIN)
            made = kind.table(found, versions())
            text = f"{head}{kind.BEGIN}\n\n{made}\n\n{kind.END}{rest.partition(kind.END)[2]}"
    PAGE.write_text(text)


if __name__ == "__main__":
    main(sys.argv[1:])
