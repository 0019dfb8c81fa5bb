"""The trace of a producer, which the runs of its tasks link to."""

from __future__ import annotations

import sys

from pytask.domain.errors import BadData
from pytask.domain.traces import is_traceparent


def current() -> str:
    """The `traceparent` of the current span; "" if there is none, or the program does not use OpenTelemetry.

    Nothing is imported for it.
    """
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return ""
    found = trace.get_current_span().get_span_context()
    if not found.is_valid:
        return ""
    return f"00-{found.trace_id:032x}-{found.span_id:016x}-{int(found.trace_flags):02x}"


def checked(text: str) -> str:
    """A `traceparent` that was given; "" stands for none.  Raises `BadData`."""
    if text != "" and not is_traceparent(str(text)):
        raise BadData(
            f"traceparent must be that of W3C Trace Context, such as"
            f" '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', not {text!r:.80}"
        )
    return text
