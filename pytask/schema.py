"""Convert decoded JSON to an instance of `Config.DATA` through its constructor, and back.

msgspec fills attrs classes and dataclasses without calling `__init__`: converters, aliases and `init=False`
would be ignored, and unknown keys dropped.  Therefore each class has a twin here, a struct of the parameters
of its `__init__`.  msgspec checks the JSON against the twin, with paths and types; then the class is called.
"""

from __future__ import annotations

import dataclasses
import enum
import re
import types
from collections.abc import Iterator, Mapping
from functools import cache
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import attrs
import msgspec
from msgspec import UNSET

from pytask.domain.data_schemas import reduced
from pytask.domain.errors import BadData, BadTaskClass


class Field(NamedTuple):
    """One field of an attrs class or a dataclass."""

    name: str  # the attribute
    key: str  # in the JSON and in the call
    init: bool  # whether it is a parameter of `__init__`
    required: bool
    converted: bool  # its converter checks the value


class Twin(NamedTuple):
    """The struct that msgspec checks instead of a class."""

    struct: type[msgspec.Struct]
    nested: frozenset[str]  # keys whose values contain twins of other classes


_classes: dict[type, tuple[type, Twin]] = {}  # by struct


def is_record(kind: object) -> bool:
    """Whether this is an attrs class or a dataclass."""
    return isinstance(kind, type) and (attrs.has(kind) or dataclasses.is_dataclass(kind))


def convert(value: dict[str, Any], into: Any, *, unknown: bool = False) -> Any:
    """`value` as an instance of `into`; with `unknown`, keys without a field are ignored.

    Raises :class:`BadData` with the path to the invalid value.
    """
    name = getattr(into, "__qualname__", into)
    try:
        shape = twin(into, unknown=unknown).struct if is_record(into) else into
        # Keys of JSON objects are strings, whatever those of a dict are.
        found = msgspec.convert(value, shape, str_keys=True)
    except msgspec.ValidationError as error:
        raise BadData(f"data does not fit {name}: {error}", _path_in(str(error))) from None
    if is_typeddict(into) and not unknown:
        for key in value.keys() - into.__annotations__.keys():
            raise BadData(f"data does not fit {name}: Object contains unknown field `{key}`", f"$.{key}")
    return _built(found, "$")


def _path_in(text: str) -> str:
    """The path to the invalid value as reported by msgspec, including an unknown or missing field."""
    said, _, where = text.rpartition(" - at `")
    path = where.removesuffix("`") if said else "$"
    field = _FIELD.search(text)
    return f"{path}.{field[1]}" if field else path


_FIELD = re.compile(r"(?:unknown|missing required) field `([^`]+)`")


@cache
def twin(cls: Any, *, unknown: bool) -> Twin:
    """The twin of a class.  Raises :class:`BadTaskClass` for a class that refers to itself."""
    if cls in _begun:
        raise BadTaskClass(f"the data class {cls.__qualname__} refers to itself: make that field a dict")
    _begun.add(cls)
    try:
        return _made(cls, unknown=unknown)
    finally:
        _begun.discard(cls)


_begun: set[type] = set()


def _made(cls: Any, *, unknown: bool) -> Twin:
    hints = get_type_hints(cls, include_extras=True)
    specs: list[Any] = []
    nested = set()
    for field in (*fields_of(cls), *_init_only(cls)):
        if not field.init:
            continue
        hint = Any if field.converted else _kept(hints.get(field.name, Any))
        wanted = _translated(hint, unknown=unknown)
        if wanted != hint:
            nested.add(field.key)
        specs.append((field.key, wanted) if field.required else (field.key, wanted, UNSET))
    struct = msgspec.defstruct(
        cls.__name__, specs, kw_only=True, frozen=True, forbid_unknown_fields=not unknown
    )
    made = Twin(struct, frozenset(nested))
    _classes[struct] = (cls, made)
    return made


@cache
def fields_of(cls: Any) -> tuple[Field, ...]:
    """The fields of an attrs class or a dataclass, in order."""
    if attrs.has(cls):
        return tuple(
            Field(
                one.name, one.alias or one.name, one.init, one.default is attrs.NOTHING, bool(one.converter)
            )
            for one in attrs.fields(cls)
        )
    none = dataclasses.MISSING
    return tuple(
        Field(
            name=one.name,
            key=one.name,
            init=one.init,
            required=one.default is none and one.default_factory is none,
            converted=False,
        )
        for one in dataclasses.fields(cls)
    )


@cache
def _init_only(cls: Any) -> tuple[Field, ...]:
    """The parameters of a dataclass's `__init__` that its instances do not keep: those typed `InitVar`."""
    if attrs.has(cls):
        return ()
    hints, none = get_type_hints(cls), dataclasses.MISSING
    return tuple(
        Field(one.name, one.name, init=True, required=one.default is none, converted=False)
        for one in cls.__dataclass_fields__.values()
        if _is_init_only(hints.get(one.name))
    )


def _is_init_only(hint: Any) -> bool:
    return hint is dataclasses.InitVar or isinstance(hint, dataclasses.InitVar)


def _kept(hint: Any) -> Any:
    """The annotation without its `InitVar`."""
    return getattr(hint, "type", Any) if _is_init_only(hint) else hint


def _translated(hint: Any, *, unknown: bool) -> Any:
    """The annotation with classes replaced by their twins."""
    if is_record(hint):
        return twin(hint, unknown=unknown).struct
    origin, args = get_origin(hint), get_args(hint)
    if is_record(origin):
        return twin(origin, unknown=unknown).struct  # a generic class; its parameters are ignored
    if not args or origin is Literal:
        return hint
    new = tuple(_translated(arg, unknown=unknown) for arg in args)
    if new == args:
        return hint
    if origin is Annotated:
        return Annotated[(new[0], *hint.__metadata__)]
    return Union[new] if origin in (Union, types.UnionType) else origin[new]  # noqa: UP007


def _built(value: Any, path: str) -> Any:
    """The value with twins replaced by instances of their classes."""
    known = _classes.get(type(value))
    if known is not None:
        cls, made = known
        given = {key: getattr(value, key) for key in value.__struct_fields__}
        given = {key: one for key, one in given.items() if one is not UNSET}
        for key in made.nested & given.keys():
            given[key] = _built(given[key], f"{path}.{key}")
        return _called(cls, given, path)
    if isinstance(value, dict):
        return {key: _built(one, f"{path}[{key!r}]") for key, one in value.items()}
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(_built(one, f"{path}[{at}]") for at, one in enumerate(value))
    return value


def _called(cls: type, given: dict[str, Any], path: str) -> Any:
    try:
        return cls(**given)
    except BadData:
        raise
    except Exception as error:  # from a validator, a converter or the class itself
        # attrs adds the value and more as further arguments.
        said = str(error.args[0]) if error.args else ""
        text = said if isinstance(error, ValueError | TypeError) else f"{type(error).__name__}: {said}"
        where = "" if path == "$" else f" - at `{path}`"
        raise BadData(f"data does not fit {cls.__qualname__}: {text}{where}", path) from error


# -- back -------------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """The input of `convert` for an instance that msgspec would encode differently; else the value."""
    kind: Any = type(value)
    return _plain(value) if is_record(kind) and _is_odd(kind) else value


def _plain(value: Any) -> Any:
    kind: Any = type(value)
    if is_record(kind):
        _refuse_init_only(kind)
        return {one.key: _plain(getattr(value, one.name)) for one in fields_of(kind) if one.init}
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in value]
    return value


def _refuse_init_only(cls: Any) -> None:
    names = ", ".join(one.name for one in _init_only(cls))
    if names:
        raise BadData(
            f"an instance of {cls.__qualname__} cannot be sent, as it does not keep what it was created with:"
            f" {names} (InitVar). Pass a dict with these keys instead"
        )


@cache
def _is_odd(cls: Any) -> bool:
    own = _init_only(cls) or any(one.name != one.key or not one.init for one in fields_of(cls))
    hints = get_type_hints(cls, include_extras=True).values()
    return bool(own) or any(_is_odd(kind) for hint in hints for kind in _records_in(hint) if kind is not cls)


def _records_in(hint: Any) -> Iterator[type]:
    if is_record(hint):
        yield hint
    for arg in get_args(hint):
        yield from _records_in(arg)


# -- for clients ------------------------------------------------------------------------------------------


def json_schema(into: Any, *, unknown: bool = False) -> Mapping[str, Any] | None:
    """The JSON Schema of data that `convert` accepts, as far as a schema tells; None if there is none.

    Descriptions and defaults are left out.
    """
    if into is None:
        return None
    try:
        shape = twin(into, unknown=unknown).struct if is_record(into) else into
        made = msgspec.json.schema(shape)
    except (TypeError, BadTaskClass):
        return None
    open_ones = _open_enums(shape)
    for one in made.get("$defs", {}).values():
        if one.get("title") in open_ones:
            del one["enum"]
        _without_tag(one)
    found: dict[str, Any] = reduced(made)
    if is_typeddict(into) and not unknown:  # `convert` checks this at the top only
        name = str(found.get("$ref", "")).removeprefix("#/$defs/")
        found.get("$defs", {}).get(name, found)["additionalProperties"] = False
    return found


def _open_enums(shape: Any) -> set[str]:
    """The names of enums that accept other values than their members: flags, and those with `_missing_`."""
    enums = [kind.cls for _, kind in _types(msgspec.inspect.type_info(shape), "", set()) if _is_enum(kind)]
    plain = enum.Enum._missing_.__func__  # type: ignore[attr-defined]
    return {one.__name__ for one in enums if getattr(one._missing_, "__func__", None) is not plain}


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, msgspec.inspect.EnumType)


def _without_tag(one: dict[str, Any]) -> None:
    """A struct's tag, which has one value, may be left out where the struct has no alternative."""
    fields = one.get("properties", {})
    if "required" in one:
        one["required"] = [name for name in one["required"] if len(fields[name].get("enum", "..")) != 1]


# -- when a class is added --------------------------------------------------------------------------------


def check(into: Any, name: str) -> None:
    """Raise :class:`BadTaskClass`, with the fix, if `into` cannot be the `Config.DATA` of task `name`."""
    if into is None:
        return
    usable = is_record(into) or is_typeddict(into) or get_origin(into) is dict or into is dict
    if not usable and not (isinstance(into, type) and issubclass(into, msgspec.Struct)):
        raise BadTaskClass(
            f"Config.DATA of {name} is {_shown(into)}, which cannot be created from JSON: make it an attrs"
            " class (`@attrs.define`), a dataclass, a TypedDict, a msgspec.Struct or a dict"
        )
    try:
        info = msgspec.inspect.type_info(twin(into, unknown=False).struct if is_record(into) else into)
    except (TypeError, NameError) as error:
        raise BadTaskClass(f"Config.DATA of {name}: {error}") from error
    for field, kind in _types(info, "", set()):
        if isinstance(kind, msgspec.inspect.CustomType):
            raise BadTaskClass(
                f"Config.DATA of {name}: the field {field!r} has the type {_shown(kind.cls)}, which JSON"
                " cannot represent; give it another type, or a converter"
            )
        if isinstance(kind, msgspec.inspect.DictType) and not _is_key(kind.key_type):
            raise BadTaskClass(
                f"Config.DATA of {name}: {f'the field {field!r}' if field else 'it'} is a dict with keys that"
                " no JSON object can have, as its keys are strings; use keys such as str or int, or a"
                " converter"
            )


def _is_key(kind: Any) -> bool:
    """Whether some string is a value of this type."""
    if isinstance(kind, msgspec.inspect.UnionType):
        return any(_is_key(one) for one in kind.types)
    of = msgspec.inspect
    arrays = (of.TupleType, of.VarTupleType, of.FrozenSetType, of.NamedTupleType)
    return not isinstance(kind, (of.NoneType, of.BoolType, of.StructType, of.DataclassType, *arrays))


def _types(info: Any, field: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """All types in one, each with its field; a class that contains itself comes once."""
    if isinstance(info, tuple):
        for one in info:
            yield from _types(one, field, seen)
    elif isinstance(info, msgspec.inspect.Field):
        yield from _types(info.type, info.name, seen)
    elif isinstance(info, msgspec.inspect.Type) and id(info) not in seen:
        seen.add(id(info))
        yield field, info
        for name in info.__struct_fields__:
            yield from _types(getattr(info, name), field, seen)


def _shown(kind: Any) -> str:
    return f"the class {kind.__module__}.{kind.__qualname__}" if isinstance(kind, type) else repr(kind)
