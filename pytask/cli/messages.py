"""Errors as the command line tells them: a call that one advises is the verb that stands for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pytask.domain.advice import Advice, Call, Typed
from pytask.domain.errors import PytaskError
from pytask.terminal import command

if TYPE_CHECKING:
    from pytask.cli.connection import Remote

VERBS = {"start_again": "start", "remove": "rm"}
REMOTE = (
    "pytask.remote"  # in the context of a call: what it talks to, which the commands it prints go to, too
)


def told(error: PytaskError) -> str:
    """The whole error: code, text, and its notes as further lines."""
    text = str(error)
    advice = next((part for part in error.args if isinstance(part, Advice)), None)
    if advice is not None:
        text = text.replace(advice, in_words(advice), 1)
    return "\n".join([text, *getattr(error, "__notes__", ())])


def in_words(text: str) -> str:
    """A text with its calls as commands for a shell, which go where this call goes."""
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


FULL = 112  # characters, of which a line of the file has as many if another word was to follow

BEGIN = ("Fix:", "then:")  # words that begin a line of their own


def explanations() -> dict[str, str]:
    """Code to text: its first line is the title."""
    import re
    from importlib.resources import files

    text = (files("pytask.cli") / "explanations.txt").read_text("utf-8")
    found = re.findall(r"^(PT\d{3}) (.*?)(?=\nPT\d{3} |\Z)", text, re.MULTILINE | re.DOTALL)
    return {code: body.rstrip() for code, body in found}


def unfilled(text: str) -> str:
    """A text with its sentences on one line each: a line that was full goes on in the next one."""
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
