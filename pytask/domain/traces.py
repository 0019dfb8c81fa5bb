"""What traces say: the field `traceparent`, and the names of attributes.

The semantic conventions for messaging are all still in development.  So their names stand in one table, under
the version from which they were taken: a newer version is a change of this file only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

SEMCONV: Final = "1.37.0"
SCHEMA_URL: Final = f"https://opentelemetry.io/schemas/{SEMCONV}"
NAMES: Final[Mapping[str, str]] = {
    "system": "messaging.system",
    "operation": "messaging.operation.name",
    "operation_type": "messaging.operation.type",
    "destination": "messaging.destination.name",
    "message": "messaging.message.id",
    "client": "messaging.client.id",
    "error": "error.type",
    # Not of the conventions: what a task has and a message has not.
    "function": "pytask.function",
    "run": "pytask.run",
    "epoch": "pytask.epoch",
    "attempt": "pytask.attempt",
    "outcome": "pytask.outcome",
    "reason": "pytask.stop_reason",
}
SYSTEM: Final = "pytask"
QUEUE: Final = "new-task"

LONGEST: Final = 55  # characters of a traceparent of version 00
TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})", re.ASCII)


def is_traceparent(text: str) -> bool:
    """Whether a text is a valid `traceparent` of W3C Trace Context, version 00."""
    return ids_of(text) is not None


def ids_of(text: str) -> tuple[int, int, int] | None:
    """The trace id, the span id and the flags of a `traceparent`; None if it is none."""
    found = TRACEPARENT.fullmatch(text)
    if found is None or found[1] != "00":
        return None
    trace, span, flags = (int(part, 16) for part in found.groups()[1:])
    return (trace, span, flags) if trace and span else None
