"""Decodes replies of Redis; the bytes may come from other programs, so nothing is trusted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def text(raw: Any) -> str:
    """A name or an id; :func:`raw_of` restores bytes that are not UTF-8."""
    return raw.decode(errors="surrogateescape") if isinstance(raw, bytes) else str(raw)


def raw_of(name: str) -> bytes:
    """The bytes of a text read by :func:`text`."""
    return name.encode(errors="surrogateescape")


def shown(raw: Any) -> str:
    """Text for people: invalid UTF-8 is replaced."""
    return raw.decode(errors="replace") if isinstance(raw, bytes) else str(raw)


def pairs(flat: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    """The pairs of a flat reply: the first with the second item, the third with the fourth, ..."""
    return zip(flat[::2], flat[1::2], strict=True)


def json_object(raw: bytes | str | None) -> Mapping[str, Any]:
    """A JSON object; an empty one for anything else."""
    try:
        found = json.loads(raw or b"{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def info(reply: Any) -> dict[str, str]:
    """The lines of INFO, which the library may have parsed already."""
    if isinstance(reply, Mapping):
        return {shown(name): shown(value) for name, value in reply.items()}
    return dict(re.findall(r"^(\w+):(.*?)\r?$", shown(reply), re.MULTILINE))
