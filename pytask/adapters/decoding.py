"""What replies of Redis are read with: others wrote the bytes, so nothing is taken on trust."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def text(raw: Any) -> str:
    """A name or an id; what is not UTF-8 comes back as it was by :func:`raw_of`."""
    return raw.decode(errors="surrogateescape") if isinstance(raw, bytes) else str(raw)


def raw_of(name: str) -> bytes:
    """The bytes of what :func:`text` read."""
    return name.encode(errors="surrogateescape")


def shown(raw: Any) -> str:
    """Text for people: what is not UTF-8 is replaced."""
    return raw.decode(errors="replace") if isinstance(raw, bytes) else str(raw)


def pairs(flat: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    """Of a flat reply the first with the second, the third with the fourth, and so on."""
    return zip(flat[::2], flat[1::2], strict=True)


def json_object(raw: bytes | str | None) -> Mapping[str, Any]:
    """A JSON object; an empty one for anything else."""
    try:
        found = json.loads(raw or b"{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def info(reply: Any) -> dict[str, str]:
    """The lines of INFO, which the library may have taken apart already."""
    if isinstance(reply, Mapping):
        return {shown(name): shown(value) for name, value in reply.items()}
    return dict(re.findall(r"^(\w+):(.*?)\r?$", shown(reply), re.MULTILINE))
