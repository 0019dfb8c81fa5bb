"""The long texts of the error codes, from `explanations.txt`."""

from __future__ import annotations

import re
from importlib.resources import files


def explanations() -> dict[str, str]:
    """Code to text: its first line is the title."""
    text = (files("pytask.console") / "explanations.txt").read_text("utf-8")
    found = re.findall(r"^(PT\d{3}) (.*?)(?=\nPT\d{3} |\Z)", text, re.MULTILINE | re.DOTALL)
    return {code: body.rstrip() for code, body in found}
