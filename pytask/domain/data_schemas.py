"""Checks data against the JSON Schema that workers show for a function, before the data is sent.

Only the keywords that describe classes are read, and whatever is not understood accepts: the worker decides.
Schemas come from Redis, so no pattern is run, no address is followed, and the work is limited.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs

KEYWORDS: Final = frozenset(
    (
        "$ref", "$defs", "type", "format", "contentEncoding", "enum", "const", "anyOf", "properties",
        "required", "additionalProperties", "items", "prefixItems", "minItems", "maxItems",
        "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
    )
)  # fmt: skip
"""What is published of a schema: neither defaults nor descriptions, which may tell secrets."""
STEPS: Final = 100_000  # values and schemas that one check looks at; what is beyond them is accepted
DEPTH: Final = 100
TYPES: Final[Mapping[str, Callable[[Any], bool]]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list | tuple),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: (
        (isinstance(value, int) and not isinstance(value, bool))
        or (isinstance(value, float) and value.is_integer())
    ),
}  # fmt: skip
BOUNDS: Final[Mapping[str, tuple[Callable[[Any, Any], bool], str]]] = {
    "minimum": (lambda value, bound: value < bound, "is less than"),
    "maximum": (lambda value, bound: value > bound, "is more than"),
    "exclusiveMinimum": (lambda value, bound: value <= bound, "is not more than"),
    "exclusiveMaximum": (lambda value, bound: value >= bound, "is not less than"),
}


@attrs.frozen
class Unfit:
    """Why data does not fit: where, such as `$.api.port`, and the reason, which quotes no value."""

    path: str
    reason: str


def reduced(schema: Any) -> Any:
    """A schema without what only people read."""
    if not isinstance(schema, dict):
        return schema
    found: dict[str, Any] = {}
    for word, value in schema.items():
        if word not in KEYWORDS:
            continue
        if word in ("properties", "$defs"):
            found[word] = {name: reduced(one) for name, one in value.items()}
        elif word in ("anyOf", "prefixItems"):
            found[word] = [reduced(one) for one in value]
        else:
            found[word] = reduced(value) if word in ("items", "additionalProperties") else value
    return found


def unfit(schema: Any, data: Any) -> Unfit | None:
    """The first reason why data does not fit a schema; None if it may fit."""
    try:
        return _Check(schema).value(schema, data, "$", 0)
    except (_Enough, RecursionError, TypeError, AttributeError, LookupError, ValueError):
        return None  # a schema of another shape, or too much of it


class _Enough(Exception):
    """The limit of work is reached."""


class _Check:
    """One check, which counts its steps."""

    def __init__(self, root: Any) -> None:
        self._known = root.get("$defs", {}) if isinstance(root, dict) else {}
        self._left = STEPS

    def value(self, schema: Any, value: Any, path: str, depth: int) -> Unfit | None:
        self._left -= 1
        if self._left < 0 or depth > DEPTH:
            raise _Enough
        if schema is False:
            return Unfit(path, "is not expected here")
        if not isinstance(schema, dict):
            return None
        if "$ref" in schema:
            name = str(schema["$ref"]).removeprefix("#/$defs/")
            return self.value(self._known.get(name), value, path, depth + 1)
        if "anyOf" in schema:
            return self._any(schema["anyOf"], value, path, depth)
        return _simple(schema, value, path) or self._parts(schema, value, path, depth)

    def _any(self, schemas: Sequence[Any], value: Any, path: str, depth: int) -> Unfit | None:
        faults = []
        for one in schemas:
            fault = self.value(one, value, path, depth + 1)
            if fault is None:
                return None
            faults.append(fault)
        deepest = max(faults, key=lambda fault: len(fault.path))
        if deepest.path != path:
            return deepest
        kinds = " or ".join(dict.fromkeys(self._kind(one) for one in schemas))
        return Unfit(path, f"expected {kinds}, got {kind_of(value)}")

    def _kind(self, schema: Any) -> str:
        """What a schema expects, in a word or two."""
        if isinstance(schema, dict) and "$ref" in schema:
            schema = self._known.get(str(schema["$ref"]).removeprefix("#/$defs/"))
        kind = schema.get("type") if isinstance(schema, dict) else None
        return kind if isinstance(kind, str) else "another value"

    def _parts(self, schema: Mapping[str, Any], value: Any, path: str, depth: int) -> Unfit | None:
        if isinstance(value, dict):
            return self._members(schema, value, path, depth)
        if isinstance(value, list | tuple):
            return self._items(schema, value, path, depth)
        return None

    def _members(
        self, schema: Mapping[str, Any], value: dict[str, Any], path: str, depth: int
    ) -> Unfit | None:
        for name in schema.get("required", ()):
            if name not in value:
                return Unfit(f"{path}.{name}", "is required, but missing")
        known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
        for name, one in value.items():
            if name not in known and others is False:
                return Unfit(f"{path}.{name}", f"is unknown; the fields are: {', '.join(known) or 'none'}")
            fault = self.value(known.get(name, others), one, f"{path}.{name}", depth + 1)
            if fault is not None:
                return fault
        return None

    def _items(self, schema: Mapping[str, Any], value: Sequence[Any], path: str, depth: int) -> Unfit | None:
        least, most = schema.get("minItems", 0), schema.get("maxItems", len(value))
        if not least <= len(value) <= most:
            wanted = f"at least {least}" if len(value) < least else f"at most {most}"
            return Unfit(path, f"expected {wanted} items, got {len(value)}")
        first = schema.get("prefixItems", ())
        for at, one in enumerate(value):
            of = first[at] if at < len(first) else schema.get("items", True)
            fault = self.value(of, one, f"{path}[{at}]", depth + 1)
            if fault is not None:
                return fault
        return None


def _simple(schema: Mapping[str, Any], value: Any, path: str) -> Unfit | None:
    """The keywords that concern the value itself, not what is in it."""
    kind = schema.get("type")
    coded = "format" in schema or "contentEncoding" in schema
    if isinstance(kind, str) and kind in TYPES and not TYPES[kind](value):
        if schema.get("format") != "decimal" or not TYPES["number"](value):  # numbers are decimals, too
            return Unfit(path, f"expected {kind}, got {kind_of(value)}")
    elif "enum" in schema and value not in schema["enum"]:
        return Unfit(path, f"is none of {', '.join(map(repr, schema['enum']))}")
    elif "const" in schema and value != schema["const"]:
        return Unfit(path, f"is not {schema['const']!r}")
    if isinstance(value, str) and not coded:
        return _length(schema, value, path)
    if TYPES["number"](value):
        for word, (fails, words) in BOUNDS.items():
            if word in schema and fails(value, schema[word]):
                return Unfit(path, f"{words} {schema[word]}")
    return None


def _length(schema: Mapping[str, Any], value: str, path: str) -> Unfit | None:
    least, most = schema.get("minLength", 0), schema.get("maxLength", len(value))
    if len(value) < least:
        return Unfit(path, f"expected at least {least} characters, got {len(value)}")
    return Unfit(path, f"expected at most {most} characters, got {len(value)}") if len(value) > most else None


def kind_of(value: Any) -> str:
    """The type of a JSON value; "value" for others."""
    order = ("boolean", "null", "integer", "number", "string", "array", "object")
    return next((kind for kind in order if TYPES[kind](value)), "value")
