"""JSON in and out, and data into the attrs class that a task asks for.  Never pickle."""

from __future__ import annotations

from typing import Any

import msgspec

from pytask.domain.errors import BadData
from pytask.domain.messages import Event

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()


def encode(value: Any, what: str) -> bytes:
    """`value` as JSON; raises :class:`BadData` that names `what`."""
    try:
        return _encoder.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadData(f"{what} is not JSON: {error}") from None


def event(name: str | Event, data: Any = None) -> bytes:
    """An event as it goes over the wire: `{"event": name, "data": data}`."""
    return encode({"event": str(name), "data": data}, f"the data of event {str(name)!r}")


def decode_data(raw: bytes | None, into: type | None) -> Any:
    """The task's data: None where there is none, else a dict, or an instance of `into`.

    Raises :class:`BadData` that points at the byte, or at the path and the type it should have.
    """
    value: Any = None
    if raw:
        try:
            value = _decoder.decode(raw)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            where = "" if "byte" in str(error) else f" (byte {len(raw)}, its end)"
            raise BadData(f"data is not JSON: {error}{where}; it begins with {raw[:60]!r}") from None
    if value is not None and not isinstance(value, dict):
        raise BadData(f'data must be a JSON object such as {{"url": "..."}}, not {_kind(value)}')
    if into is None:
        return value
    try:
        return msgspec.convert({} if value is None else value, into)
    except msgspec.ValidationError as error:
        raise BadData(f"data does not fit {into.__qualname__}: {error}") from None


def _kind(value: Any) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), type(value).__name__)
