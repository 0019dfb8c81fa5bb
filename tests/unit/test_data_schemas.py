"""Data against the schema of a class: what a worker accepts is never refused before it is sent."""

import datetime as dt
import decimal
import enum
import json
import uuid
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytask import schema
from pytask.domain.data_schemas import KEYWORDS, kind_of, unfit
from pytask.domain.errors import BadData

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@attrs.define
class Api:
    host: str
    port: Port = 80


@attrs.define
class Job:
    url: str
    n: int = 3
    share: float = 1.0
    api: Api | None = None
    apis: list[Api] = attrs.field(factory=list)
    counts: dict[str, int] = attrs.field(factory=dict)
    pair: tuple[int, str] = (1, "")
    color: Color = Color.RED
    mode: Literal["fast", 1] = "fast"
    tags: set[str] = attrs.field(factory=set)
    code: Annotated[str, msgspec.Meta(pattern="^a", min_length=2, max_length=4)] = "aa"
    at: dt.datetime | None = None
    price: decimal.Decimal | None = None
    raw: bytes = b""
    key: uuid.UUID | None = None
    either: int | list[str] | Api | None = None
    anything: Any = None
    own: int = attrs.field(default=0, converter=int)


class Typed(TypedDict):
    a: int
    b: NotRequired[str]


class Open(msgspec.Struct, rename="camel"):
    long_name: int
    other: str = "s3cr3t default"


SCHEMA = schema.json_schema(Job)


@pytest.mark.parametrize(
    ("data", "path", "reason"),
    [
        ({}, "$.url", "is required, but missing"),
        ({"url": 5}, "$.url", "expected string, got integer"),
        ({"url": "u", "n": "5"}, "$.n", "expected integer, got string"),
        ({"url": "u", "n": True}, "$.n", "expected integer, got boolean"),
        ({"url": "u", "n": 1.5}, "$.n", "expected integer, got number"),
        ({"url": "u", "api": {}}, "$.api.host", "is required, but missing"),
        ({"url": "u", "api": 5}, "$.api", "expected object or null, got integer"),
        ({"url": "u", "api": {"host": "h", "port": 0}}, "$.api.port", "is less than 1"),
        (
            {"url": "u", "apis": [{"host": "h"}, {"host": None}]},
            "$.apis[1].host",
            "expected string, got null",
        ),
        ({"url": "u", "counts": {"a": "x"}}, "$.counts.a", "expected integer, got string"),
        ({"url": "u", "pair": [1]}, "$.pair", "expected at least 2 items, got 1"),
        ({"url": "u", "pair": [1, "a", 2]}, "$.pair", "expected at most 2 items, got 3"),
        ({"url": "u", "color": "green"}, "$.color", "is none of 'blue', 'red'"),
        ({"url": "u", "code": "a"}, "$.code", "expected at least 2 characters, got 1"),
        ({"url": "u", "either": {}}, "$.either.host", "is required, but missing"),
        ({"url": "u", "either": "x"}, "$.either", "expected integer or array or object or null, got string"),
        ([], "$", "expected object, got array"),
    ],
)
def test_what_does_not_fit_is_named_with_its_path(data, path, reason):
    fault = unfit(SCHEMA, data)
    assert (fault.path, fault.reason) == (path, reason)
    if isinstance(data, dict):
        with pytest.raises(BadData):
            schema.convert(data, Job)


def test_an_unknown_field_is_refused_unless_the_class_ignores_it():
    fault = unfit(SCHEMA, {"url": "u", "ulr": 1})
    assert fault.path == "$.ulr"
    assert fault.reason.startswith("is unknown; the fields are: url, n,")
    assert unfit(schema.json_schema(Job, unknown=True), {"url": "u", "ulr": 1}) is None
    assert unfit(schema.json_schema(Typed), {"a": 1, "c": 1}).path == "$.c"
    assert unfit(schema.json_schema(Typed, unknown=True), {"a": 1, "c": 1}) is None
    assert unfit(schema.json_schema(Open), {"longName": 1, "more": 1}) is None


def test_no_value_is_quoted_and_no_default_published():
    assert "s3cr3t" not in unfit(SCHEMA, {"url": "u", "n": "s3cr3t"}).reason
    shown = json.dumps(schema.json_schema(Open))
    assert "s3cr3t" not in shown
    assert schema.json_schema(None) is None


# Values like those that fit, and others in their place.
leaves = st.sampled_from(
    [None, True, 0, 1, 80, 70_000, 1.0, 1.5, -1, "", "a", "aa", "abcde", "red", "fast", "1", "1.5", "YQ==",
     "2026-01-01T00:00:00Z", "12345678-1234-5678-1234-567812345678"]
)  # fmt: skip
apis = st.fixed_dictionaries({}, optional={"host": leaves, "port": leaves, "more": leaves})
values = (
    leaves | apis | st.lists(leaves | apis, max_size=3) | st.dictionaries(st.text("ab"), leaves, max_size=2)
)
jobs = st.fixed_dictionaries({"url": st.just("u") | leaves}, optional={
    one.name: values for one in attrs.fields(Job) if one.name != "url"
})  # fmt: skip


@given(jobs)
def test_what_a_worker_accepts_is_never_refused(data):
    try:
        schema.convert(data, Job)
    except BadData:
        return
    assert unfit(SCHEMA, data) is None


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), leaves))
def test_the_same_of_typed_dicts(data):
    try:
        schema.convert(data, Typed)
    except BadData:
        return
    assert unfit(schema.json_schema(Typed), data) is None


class Level(enum.Enum):
    LOW = "low"
    HIGH = "high"

    @classmethod
    def _missing_(cls, value):
        return cls.HIGH if value == "HIGH" else None


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Tagged(msgspec.Struct, tag="job"):
    q: int


class Node(TypedDict):
    v: int
    child: NotRequired["Node"]


@attrs.define
class Lenient:
    level: Level = Level.LOW
    rights: Rights = Rights.READ
    color: Color = Color.RED
    job: Tagged | None = None


@pytest.mark.parametrize(
    ("into", "data"),
    [
        (Lenient, {"level": "HIGH"}),
        (Lenient, {"rights": 3}),
        (Lenient, {"job": {"q": 1}}),
        (Tagged, {"q": 1}),
        (Tagged, {"type": "job", "q": 1}),
        (Node, {"v": 1, "child": {"v": 2}}),
    ],
)
def test_what_a_class_accepts_beyond_its_members_and_without_its_tag(into, data):
    schema.check(into, "t")
    schema.convert(data, into)
    assert unfit(schema.json_schema(into), data) is None


@pytest.mark.parametrize(
    "data", [{"color": "green"}, {"job": {}}, {"job": {"type": "x", "q": 1}}, {"job": {"q": "1"}}]
)
def test_the_rest_is_refused_as_before(data):
    with pytest.raises(BadData):
        schema.convert(data, Lenient)
    assert unfit(schema.json_schema(Lenient), data) is not None


everything = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(st.dictionaries(st.sampled_from(sorted(KEYWORDS)), everything), everything)
def test_a_schema_of_any_shape_raises_nothing(broken, data):
    unfit(broken, data)
    unfit({"type": "object", "additionalProperties": broken}, data)


def test_a_schema_that_never_ends_accepts():
    endless = {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}
    assert unfit(endless, {}) is None
    fork = {"anyOf": [{"$ref": "#/$defs/A"}] * 2, "$defs": {"A": {"anyOf": [{"$ref": "#/$defs/A"}] * 2}}}
    assert unfit(fork, {}) is None
    assert unfit({"type": "array", "items": {"type": "integer"}}, [1] * 200_000 + ["x"]) is None


def test_every_json_value_has_a_kind():
    kinds = map(kind_of, (None, True, 1, 1.5, "", [], {}))
    assert list(kinds) == ["null", "boolean", "integer", "number", "string", "array", "object"]
