"""The long texts of the error codes, from `explanations.txt`."""

from __future__ import annotations

import re
from importlib.resources import files
from itertools import pairwise

FULL = 112  # characters; a line of the file is filled up to this width before it is continued

BEGIN = ("Fix:", "then:")  # words that always begin a new line


def explanations() -> dict[str, str]:
    """Code to text: its first line is the title."""
    text = (files("pytask.cli") / "explanations.txt").read_text("utf-8")
    found = re.findall(r"^(PT\d{3}) (.*?)(?=\nPT\d{3} |\Z)", text, re.MULTILINE | re.DOTALL)
    return {code: body.rstrip() for code, body in found}


def unfilled(text: str) -> str:
    """The text with wrapped lines joined: a full line continues in the next one."""
    lines = text.split("\n")
    found = lines[:1]
    for before, line in pairwise(lines):
        first = line.split(" ", 3)[2] if line.startswith("  ") else ""
        if first in BEGIN or len(before) + 1 + len(first) <= FULL:
            found.append(line)
        else:
            found[-1] += f" {line.strip()}"
    return "\n".join(found)
