"""Text from Redis as the page shows it: escaped, with control and direction characters made visible."""

from __future__ import annotations

import json
from typing import Any

from markupsafe import Markup, escape

from pytask.domain.escaping import escaped, in_json

CELL = 300  # characters of a name, a note, a line
BLOCK = 20_000  # characters of data, of an error


def shown(value: Any) -> Any:
    """What a template writes: a short text in one line; markup as it is."""
    if value is None:
        return ""
    if hasattr(value, "__html__"):
        return value
    return escaped(cut(str(value), CELL))


def exact(value: Any) -> Markup:
    """What a form sends back: all of it, as it is."""
    return escape(str(value).encode(errors="replace").decode())


def block(value: Any, most: int = BLOCK) -> Markup:
    """Text of several lines."""
    return escape(escaped(cut(str(value), most), keep="\n\t"))


def cut(text: str, most: int) -> str:
    """The beginning of a long text, and how much is left out."""
    return text if len(text) <= most else f"{text[:most]} … and {len(text) - most:,} more characters"


def pretty(raw: bytes | None) -> str:
    """JSON with line breaks; what is none, or is long, as it is."""
    if raw is None:
        return ""
    text = raw.decode(errors="backslashreplace")
    if len(raw) > BLOCK:
        return text
    try:
        found = json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        return text
    # Made visible in the way of JSON, so that it can be edited and means the same.
    return "\n".join(map(in_json, found.split("\n")))
