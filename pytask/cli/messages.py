"""Errors as the command line prints them: an advised client call is shown as the equivalent command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pytask.domain.advice import Advice, Call, Typed
from pytask.domain.errors import PytaskError
from pytask.terminal import command

if TYPE_CHECKING:
    from pytask.cli.connection import Remote

VERBS = {"start_again": "start", "remove": "rm"}
REMOTE = "pytask.remote"  # key in click's context: the connection, which printed commands refer to as well


def error_text(error: PytaskError) -> str:
    """The whole error: code, text, and one line per note."""
    text = str(error)
    advice = next((part for part in error.args if isinstance(part, Advice)), None)
    if advice is not None:
        text = text.replace(advice, in_words(advice), 1)
    return "\n".join([text, *getattr(error, "__notes__", ())])


def in_words(text: str) -> str:
    """A text with its calls as shell commands for the same server and namespace."""
    if not isinstance(text, Advice):
        return text
    parts = (f"`{_command(part)}`" if isinstance(part, Call) else part for part in text.parts)
    return "".join(_command(part) if isinstance(part, Typed) else part for part in parts)


def _command(part: Call | Typed) -> str:
    context = click.get_current_context(silent=True)
    remote: Remote | None = context.meta.get(REMOTE) if context is not None else None
    if isinstance(part, Typed) and part.words[0] == "redis-cli":
        return command([*(remote.redis_cli if remote else ["redis-cli"]), *part.words[1:]])
    return command([*_words(part), *(remote.flags if remote else ())])


def _words(part: Call | Typed) -> tuple[str, ...]:
    if isinstance(part, Typed):
        return part.words
    return (
        "pytask",
        VERBS.get(part.verb, part.verb),
        part.id,
        *(("--wait", f"{part.wait:g}") if part.wait else ()),
    )


FULL = 112  # characters; a line of the file is filled up to this width before it is continued

BEGIN = ("Fix:", "then:")  # words that always begin a new line


def explanations() -> dict[str, str]:
    """Code to text: its first line is the title."""
    import re
    from importlib.resources import files

    text = (files("pytask.cli") / "explanations.txt").read_text("utf-8")
    found = re.findall(r"^(PT\d{3}) (.*?)(?=\nPT\d{3} |\Z)", text, re.MULTILINE | re.DOTALL)
    return {code: body.rstrip() for code, body in found}


def unfilled(text: str) -> str:
    """The text with wrapped lines joined: a full line continues in the next one."""
    from itertools import pairwise

    lines = text.split("\n")
    found = lines[:1]
    for before, line in pairwise(lines):
        first = line.split(" ", 3)[2] if line.startswith("  ") else ""
        if first in BEGIN or len(before) + 1 + len(first) <= FULL:
            found.append(line)
        else:
            found[-1] += f" {line.strip()}"
    return "\n".join(found)
