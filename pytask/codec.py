"""JSON encoding and decoding, and task data as instances of `Config.DATA`.  Never pickle."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from pytask import schema
from pytask.domain import secrets
from pytask.domain.errors import BadData, BadSave, BadSaved
from pytask.domain.messages import Event
from pytask.domain.record import LONGEST_SAVED


def encode(value: Any, what: str) -> bytes:
    """`value` as JSON.  Raises :class:`BadData` that names `what`."""
    try:
        raw = _encoder.encode(value)
        if b"null" in raw:
            _refuse_nan(value, what, "$")
    except (TypeError, ValueError, RecursionError) as error:
        raise BadData(f"{what} is not JSON: {error}") from None
    return raw


def _plain(value: Any) -> Any:
    # Strings of an HTML library, numbers of a numeric one: a subclass is encoded as its base class.
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind.__str__(value) if kind is str else kind(value)
    raise TypeError(f"objects of type {type(value).__qualname__} cannot be represented in JSON")


def _refuse_nan(value: Any, what: str, path: str) -> None:
    """Refuse numbers that JSON cannot represent: msgspec encodes them as null."""
    kind: Any = type(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise BadData(f"{what} is not JSON: {value} has no JSON representation - at `{path}`")
    if isinstance(value, dict):
        for key, one in value.items():
            _refuse_nan(one, what, f"{path}.{key}")
    elif isinstance(value, list | tuple | set | frozenset):
        for at, one in enumerate(value):
            _refuse_nan(one, what, f"{path}[{at}]")
    elif schema.is_record(kind):
        for field in schema.fields_of(kind):
            _refuse_nan(getattr(value, field.name), what, f"{path}.{field.key}")


SAVED_FIX = (
    "Write JSON of 64 KiB at most (HSET <task_id> saved ...) and start the task again, or start it without:"
    " pytask start --fresh <task_id>"
)
_encoder = msgspec.json.Encoder(enc_hook=_plain)
_decoder = msgspec.json.Decoder()


def event(name: str | Event, data: Any = None) -> bytes:
    """An event as published: `{"event": name, "data": data}`."""
    return encode({"event": str(name), "data": data}, f"the data of event {str(name)!r}")


def decode_data(raw: bytes | None, into: Any, *, unknown: bool = False, quote: bool = True) -> Any:
    """The task's data: None without data, else a dict or an instance of `into`.

    With `unknown`, keys without a field in `into` are ignored.  Without `quote`, the error for invalid JSON
    does not show its beginning.  Raises :class:`BadData` with the byte position, or the path and the expected
    type.
    """
    value: Any = None
    if raw:
        try:
            value = _decoder.decode(raw)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            where = "" if "byte" in str(error) else f" (byte {len(raw)}, its end)"
            begins = _beginning(raw) if quote else ""
            raise BadData(f"data is not JSON: {error}{where}{begins}") from None
    if value is not None and not isinstance(value, dict):
        raise BadData(f'data must be a JSON object such as {{"url": "..."}}, not {_kind(value)}')
    if into is None:
        return value
    return schema.convert({} if value is None else value, into, unknown=unknown)


def encode_saved(value: Any) -> bytes:
    """What a task saves, as JSON.  Raises :class:`BadSave`."""
    try:
        raw = encode(value, "what save() got")
    except BadData as error:
        raise BadSave(f"{error.args[0]}; the last value is kept", error.path) from None
    if len(raw) > LONGEST_SAVED:
        raise BadSave(
            f"what save() got has {len(raw):,} bytes as JSON, but at most {LONGEST_SAVED:,} are kept: save"
            " what the next run needs to go on, such as a position or a key, and store the rest elsewhere;"
            " the last value is kept"
        )
    return raw


def decode_saved(raw: bytes, *, quote: bool = True) -> Any:
    """What a task has saved.  Raises :class:`BadSaved` with the fix; `quote`: it may show the beginning."""
    try:
        return _decoder.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        begins = _beginning(raw) if quote else ""
        raise BadSaved(f"the field saved is not JSON: {error}{begins}. {SAVED_FIX}") from None


def _beginning(raw: bytes) -> str:
    return f"; it begins with {raw[:60]!r}"


def without_quotes(text: str) -> str:
    """Texts of errors without what this module and msgspec quote of data and saved values."""
    return _QUOTES.sub(r"\1(not shown)", text)


# An end may be missing, as long texts are cut.
_LITERAL = r"""(?:'(?:[^'\\\n]|\\.)*(?:'|\\?$)|"(?:[^"\\\n]|\\.)*(?:"|\\?$))"""
_QUOTES = re.compile(
    rf"(; it begins with (?=b)|Invalid (?:enum )?value )(?:b?{_LITERAL}|-?\d+)", re.MULTILINE
)


def secrets_in(raw: bytes | None, fields: Sequence[str]) -> tuple[str, ...]:
    """The values of secret fields in data, as they may occur in texts; empty for invalid JSON."""
    if not raw or not fields:
        return ()
    try:
        return secrets.values_in(_decoder.decode(raw), fields)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return ()


def _kind(value: Any) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), type(value).__name__)
