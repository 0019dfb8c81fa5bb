"""This release, and the releases with which it may share a Redis."""

from __future__ import annotations

import re

__version__ = "0.1.0"
PROTOCOL = "1.1"  # version of the wire protocol in docs/protocol.md


RELEASE = re.compile(r"([0-9]{1,9})(?![0-9])(?:\.([0-9]{1,9})(?![0-9]))?")


def may_share(mine: str, other: str) -> bool:
    """Whether two releases may share a Redis: the same major version, and below 1.0 the same minor version.

    Versions in another format, as of custom builds, are assumed to be compatible.
    """
    first, second = RELEASE.match(mine), RELEASE.match(other)
    if first is None or second is None:
        return True
    majors, minors = {int(found[1]) for found in (first, second)}, {first[2], second[2]} - {None}
    return len(majors) == 1 and (majors != {0} or len({int(minor) for minor in minors}) < 2)
