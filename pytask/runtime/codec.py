"""JSON as the runtime uses it: see `pytask.codec`."""

from __future__ import annotations

from pytask.codec import decode_data, encode, event

__all__ = ["decode_data", "encode", "event"]
