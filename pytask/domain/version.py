"""This release, and which others it may share a Redis with."""

from __future__ import annotations

import re

__version__ = "0.1.0"
PROTOCOL = "1.1"  # of the wire, as docs/protocol.md describes it


RELEASE = re.compile(r"([0-9]{1,9})(?![0-9])(?:\.([0-9]{1,9})(?![0-9]))?")


def may_share(mine: str, other: str) -> bool:
    """Whether two releases may share a Redis, by SemVer: one major version, and below 1.0 one minor version.

    A version that names no such number, as other builds may show, is not judged.
    """
    first, second = RELEASE.match(mine), RELEASE.match(other)
    if first is None or second is None:
        return True
    majors, minors = {int(found[1]) for found in (first, second)}, {first[2], second[2]} - {None}
    return len(majors) == 1 and (majors != {0} or len({int(minor) for minor in minors}) < 2)
