"""All output of the command line: printed text cannot control the terminal.

`out` prints data to standard output, `say` prints messages to standard error.  On a terminal long lines are
wrapped between words, with a hanging indent; piped output is not wrapped.
"""

from __future__ import annotations

import shlex
import shutil
import sys
import textwrap
from collections.abc import Iterable
from typing import IO

import click

from pytask.domain.escaping import escaped

HANG = "  "  # starts a continuation of the line above
LEAST = 40  # columns


def out(text: str = "", *, nl: bool = True, wrap: bool = False) -> None:
    """Print data, or text for people with `wrap`."""
    lines = escaped(text, keep="\n\t")
    _echo(wrapped(lines, sys.stdout) if wrap else lines, nl=nl)


def say(text: str) -> None:
    """Print a message.  Only its first line begins at the margin, so quoted text cannot fake a message."""
    first, *more = escaped(f"pytask: {text}", keep="\n").split("\n")
    lines = [first, *(line if line.startswith(HANG) or not line else HANG + line for line in more)]
    _echo(wrapped("\n".join(lines), sys.stderr), err=True)


def wrapped(text: str, stream: IO[str], hang: str = HANG) -> str:
    """`text` wrapped to the width of the terminal; continued lines are indented by `hang` more."""
    if not stream.isatty():
        return text
    width = max(LEAST, shutil.get_terminal_size().columns)
    return "\n".join(_broken(line, width, hang) for line in text.split("\n"))


def _broken(line: str, width: int, hang: str) -> str:
    if len(line) <= width:
        return line
    indent = " " * (len(line) - len(line.lstrip(" ")))
    return textwrap.fill(
        line.strip(), width, initial_indent=indent, subsequent_indent=indent + hang,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _echo(text: str, *, nl: bool = True, err: bool = False) -> None:
    click.echo(text, nl=nl, err=err)  # noqa: TID251 - the only place


def quoted(word: str, keep: str = "") -> str:
    r"""A shell word without terminal control characters, except those in `keep`, such as \n.

    A shell removes line breaks at the end of a word quoted in this way.
    """
    if escaped(word, keep) == word:
        return shlex.quote(word)
    raw = word.encode(errors="surrogateescape")
    octal = "".join(chr(b) if 0x20 <= b < 0x7F and b not in b"%\\'" else f"\\{b:03o}" for b in raw)
    return f"\"$(printf '{octal}')\""


def command(words: Iterable[str]) -> str:
    """Words as one shell command."""
    return " ".join(map(quoted, words))
