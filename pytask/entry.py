"""What the script `pytaskd` calls: where the other `pytask` has overwritten ours, it says so."""

from __future__ import annotations

import sys

import pytask
from pytask.daemon.interrupt import guard_imports

BAD_CONFIG = 78  # as of the command line, which may not be ours here


def main() -> None:
    """Run the command, or say which package is in its place."""
    guard_imports()
    if getattr(pytask, "DISTRIBUTION", "") != "pytaskd":
        sys.exit(_tell())
    from pytask.__main__ import main as command

    command()


def _tell() -> int:
    from pytask.cli.name_clash import check_name_clash
    from pytask.domain.errors import NameClash

    try:
        check_name_clash()
    except NameClash as error:
        print(f"pytask: {error}", file=sys.stderr)  # noqa: T201 - click's way is that of the other project
    else:
        print(f"pytask: {pytask.__file__} is not of the package pytaskd", file=sys.stderr)  # noqa: T201
    return BAD_CONFIG
