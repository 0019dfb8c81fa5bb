"""Limits in words."""

from __future__ import annotations

from pytask.client.limit_records import LimitInfo
from pytask.domain.limits import WHOLE


def note_of(found: LimitInfo) -> str:
    """What is particular about it; "" for nothing."""
    if found.invalid:
        return f"{found.invalid!r} is not {WHOLE}: ignored"
    if not found.counted:
        return "its runs are being counted"
    if found.limit is None and found.default is not None:
        return "declared in its class"
    return "declared in a class" if found.limit is None and found.waiting else ""
