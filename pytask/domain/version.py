"""This release, and the releases with which it may share a Redis."""

from __future__ import annotations

import re

__version__ = "0.1.0"
PROTOCOL = "1.1"  # version of the wire protocol in docs/protocol.md


FIRST_PROTOCOL = "1.0"  # of workers that publish none
OLDER = (
    "it starts delayed tasks at once, makes failed tasks ERROR that others would restart, and moves no timers"
)


def is_older_protocol(other: str) -> bool:
    """Whether a worker lacks a part of this release's wire protocol; "" is the first version."""
    return _numbers(other or FIRST_PROTOCOL) < _numbers(PROTOCOL)


def _numbers(version: str) -> tuple[int, ...]:
    parts = version.split(".")[:2]
    return tuple(int(part) for part in parts if part.isascii() and part.isdigit())


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
