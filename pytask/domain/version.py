"""This release, and which others it may share a Redis with."""

from __future__ import annotations

import re

__version__ = "0.1.0"
PROTOCOL = "1.1"  # of the wire, as docs/protocol.md describes it


def may_share(mine: str, other: str) -> bool:
    """Whether releases are made to work side by side: their first numbers agree, or one tells none."""
    first, second = (re.match(r"[0-9]{1,9}(?![0-9])", version) for version in (mine, other))
    return first is None or second is None or int(first[0]) == int(second[0])
