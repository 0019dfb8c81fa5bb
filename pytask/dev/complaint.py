"""The error of code that cannot run, from what its process printed: one line with file and line number."""

from __future__ import annotations

import re

START = "pytask: "
PLACES = (re.compile(r'File "(.+?)", line (\d+)'), re.compile(r"raised at (.+), line (\d+)$"))
MOST = 400  # characters
SPARE_LINES = 3  # of a process that printed no error of pytask


def complaint(printed: str, how: str) -> str:
    """The error, for example "tasks.py:12: NameError: name 'x' is not defined".

    Args:
        printed: All that the process printed.
        how: How it ended, such as "ended with exit code 2", for one that printed no error.
    """
    lines = [line.rstrip() for line in printed.splitlines() if line.strip()]
    starts = [number for number, line in enumerate(lines) if line.startswith(START)]
    if starts:
        lines = lines[starts[-1] :]
    place = _place(lines)
    if not starts and not place:
        return "; ".join([how, *(line.strip() for line in lines[-SPARE_LINES:])])[:MOST]
    return f"{place}{_what(lines)}"[:MOST]


def _place(lines: list[str]) -> str:
    """The innermost place of the last traceback, or the line that the error itself names."""
    for line in reversed(lines):
        for pattern in PLACES:
            if found := pattern.search(line):
                return f"{found[1]}:{found[2]}: "
    return ""


def _what(lines: list[str]) -> str:
    """The sentence of a traceback is below it; that of an error of pytask is its first line."""
    traced = any(line.lstrip().startswith("Traceback (") or PLACES[0].search(line) for line in lines)
    if not traced:
        return lines[0].removeprefix(START)
    tail = [line.strip() for line in lines if not PLACES[1].search(line)]
    return tail[-1]
