"""Data in the class that a task asks for, made as the class makes itself."""

import dataclasses
import datetime as dt
import enum
import json
import math
from typing import Annotated, Any, ClassVar, Literal, TypedDict

import attrs
import msgspec
import pytest

from pytask import PyTask, Task, codec, schema
from pytask.client.enqueue import payload
from pytask.domain.data_schemas import unfit
from pytask.domain.errors import BadData, BadTaskClass


@attrs.frozen
class Place:
    city: str = attrs.field(converter=str.strip)
    floor: int = attrs.field(default=0, validator=attrs.validators.ge(0))


@attrs.define
class Visit:
    url: str
    where: Place | None = None
    others: list[Place] = attrs.Factory(list)
    named: dict[str, Place] = attrs.Factory(dict)
    _times: int = 1
    kind: Literal["short", "long"] = "short"
    label: Annotated[str, msgspec.Meta(max_length=5)] = ""
    seen: set[str] = attrs.field(init=False, factory=set)


@dataclasses.dataclass
class Pace:
    step: float
    doubled: float = dataclasses.field(init=False, default=0.0)
    tags: tuple[str, ...] = ()

    def __post_init__(self):
        self.doubled = 2 * self.step


@dataclasses.dataclass
class Seeded:
    size: int
    seed: dataclasses.InitVar[int]
    word: "dataclasses.InitVar[str]" = "a"
    limit: ClassVar[int] = 9
    noise: str = dataclasses.field(init=False, default="")

    def __post_init__(self, seed, word):
        self.noise = word * seed


class Named(TypedDict):
    name: str


class Shaped(msgspec.Struct):
    name: str = ""


def decoded(into, value, **how):
    return codec.decode_data(codec.encode(value, "it"), into, **how)


def test_converters_validators_aliases_and_init_false_count():
    visit = decoded(
        Visit,
        {
            "url": "u",
            "where": {"city": " Oslo "},
            "others": [{"city": " Rome", "floor": 2}],
            "named": {"a": {"city": "Bern "}},
            "times": 3,
        },
    )
    assert visit == Visit("u", Place("Oslo"), [Place("Rome", 2)], {"a": Place("Bern")}, times=3)
    assert visit.seen == set()
    assert decoded(Pace, {"step": 2, "tags": ["x"]}) == Pace(2.0, tags=("x",))
    assert decoded(Pace, {"step": 2}).doubled == 4.0


@pytest.mark.parametrize(
    ("into", "value", "text"),
    [
        (Visit, {}, "Object missing required field `url`"),
        (Visit, {"url": 1}, r"Expected `str`, got `int` - at `\$\.url`"),
        (Visit, {"url": "u", "tiems": 2}, "Object contains unknown field `tiems`"),
        (Visit, {"url": "u", "seen": []}, "Object contains unknown field `seen`"),
        (Visit, {"url": "u", "where": {"cty": "x"}}, r"unknown field `cty` - at `\$\.where`"),
        (Visit, {"url": "u", "where": {"city": 3}}, r"Place: descriptor .* - at `\$\.where`"),
        (Visit, {"url": "u", "others": [{"city": "x", "floor": -1}]}, r"must be >= 0: -1 - at `\$\.oth"),
        (Visit, {"url": "u", "named": {"a": {"city": "x", "floor": "1"}}}, r"`\$\.named\[\.\.\.\]\.floor`"),
        (Visit, {"url": "u", "label": "longer"}, r"length <= 5 - at `\$\.label`"),
        (Pace, {"step": 1, "doubled": 2}, "unknown field `doubled`"),
        (Named, {"name": "x", "more": 1}, "unknown field `more`"),
        (Named, {}, "missing required field `name`"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_with_its_path(into, value, text):
    with pytest.raises(BadData, match=f"data does not fit .*{text}"):
        decoded(into, value)


@pytest.mark.parametrize(
    ("into", "value"), [(Pace, {"step": 1}), (Named, {"name": "x"}), (Place, {"city": "x"})]
)
def test_unknown_keys_are_ignored_where_the_class_of_the_task_says_so(into, value):
    assert decoded(into, {**value, "of a later release": 1}, unknown=True) is not None

    class Tolerant(Task):
        class Config:
            NAME = "tolerant"
            DATA = into
            UNKNOWN_KEYS = "ignore"

        def start(self):
            """Nothing."""

    assert payload(Tolerant, {**value, "later": 1}, 1000)
    Tolerant.Config.UNKNOWN_KEYS = "refuse"
    with pytest.raises(BadData, match="unknown field `later`"):
        payload(Tolerant, {**value, "later": 1}, 1000)


def test_an_error_of_the_class_s_own_code_is_a_sentence():
    @attrs.define
    class Strict:
        a: int = attrs.field(validator=attrs.validators.instance_of(int), converter=lambda value: value)
        b: Any = attrs.field(default=1, converter=lambda value: {}[value] if value != 1 else 1)

    with pytest.raises(BadData) as info:
        decoded(Strict, {"a": "x"})
    assert str(info.value).endswith("(got 'x' that is a <class 'str'>).")
    with pytest.raises(BadData, match="KeyError: 2"):
        decoded(Strict, {"a": 1, "b": 2})


@pytest.mark.parametrize(
    "value",
    [
        Visit("u", Place("Oslo", 2), [Place("a")], {"b": Place("c")}, times=4),
        Place("Oslo"),
        Pace(1.5, ("x",)),
    ],
)
def test_an_instance_goes_there_and_back(value):
    raw = codec.encode(schema.plain(value), "it")
    assert codec.decode_data(raw, type(value)) == value


class Text(str):
    __slots__ = ()


class Whole(int):
    __slots__ = ()


class Real(float):
    __slots__ = ()


class Colour(enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "raw"),
    [
        ({"a": Text("x"), Text("b"): [Whole(1), Real(0.5)]}, b'{"a":"x","b":[1,0.5]}'),
        ([Colour.RED, True, None], b'["red",true,null]'),
    ],
)
def test_subclasses_of_plain_types_are_json(value, raw):
    assert codec.encode(value, "it") == raw


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, Real("nan")])
@pytest.mark.parametrize(
    ("made", "path"),
    [
        (lambda n: n, r"\$"),
        (lambda n: {"a": [None, {"b": n}]}, r"\$\.a\[1\]\.b"),
        (lambda n: {"a": (n,)}, r"\$\.a\[0\]"),
        (Pace, r"\$\.step"),
    ],
)
def test_a_number_that_json_has_no_form_for_is_refused_with_its_path(number, made, path):
    with pytest.raises(BadData, match=rf"it is not JSON: .* has no JSON representation - at `{path}`$"):
        codec.encode(made(number), "it")


class Size(enum.IntEnum):
    S = 1
    L = 2


DAY = dt.date(2026, 12, 1)
KEYED = [
    (int, {1: "a", -2: "b"}),
    (float, {1.5: "a"}),
    (Size, {Size.L: "a"}),
    (Literal[1, "x"], {1: "a", "x": "b"}),
    (dt.date, {DAY: "a"}),
    (int | None, {7: "a"}),
    (str, {"1": "a"}),
]


@pytest.mark.parametrize(("key", "value"), KEYED)
def test_keys_of_other_types_than_strings_come_from_strings(key, value):
    holder = attrs.make_class("Holder", {"by": attrs.field(type=dict[key, str])})

    class Typed(TypedDict):
        by: dict[key, str]

    data = json.loads(codec.encode(value, "it"))
    for into, given in ((dict[key, str], data), (holder, {"by": data}), (Typed, {"by": data})):
        schema.check(into, "demo")
        assert unfit(schema.json_schema(into), given) is None
    assert decoded(dict[key, str], value) == value
    assert decoded(holder, {"by": value}).by == value
    assert decoded(Typed, {"by": value})["by"] == value
    assert codec.decode_data(codec.encode(schema.plain(holder(value)), "it"), holder) == holder(value)


def test_a_key_of_another_type_is_refused():
    with pytest.raises(BadData, match="Expected `int`, got `str` - at `key` in"):
        decoded(dict[int, str], {"one": "a"})


def test_a_parameter_that_an_instance_does_not_keep_is_data():
    schema.check(Seeded, "demo")
    assert decoded(Seeded, {"size": 1, "seed": 3}).noise == "aaa"
    assert decoded(Seeded, {"size": 1, "seed": 2, "word": "b"}).noise == "bb"
    for value, text in (
        ({"size": 1}, "missing required field `seed`"),
        ({"size": 1, "seed": "3"}, r"Expected `int`, got `str` - at `\$\.seed`"),
        ({"size": 1, "seed": 3, "limit": 5}, "unknown field `limit`"),
        ({"size": 1, "seed": 3, "noise": "x"}, "unknown field `noise`"),
    ):
        with pytest.raises(BadData, match=text):
            decoded(Seeded, value)
        assert unfit(schema.json_schema(Seeded), value) is not None
    assert unfit(schema.json_schema(Seeded), {"size": 1, "seed": 3, "word": "b"}) is None


def test_an_instance_that_keeps_too_little_cannot_be_sent():
    holder = attrs.make_class("Holder", {"of": attrs.field(type=list[Seeded])})
    for value in (Seeded(1, 2), holder([Seeded(1, 2)])):
        with pytest.raises(BadData, match=r"instance of Seeded .*: seed, word \(InitVar\). Pass a dict"):
            schema.plain(value)


class Opaque:
    """JSON has no form for it."""


@attrs.define
class Holds:
    many: list[Opaque]


@attrs.define
class Node:
    below: "list[Node]"


@attrs.define
class Converted:
    one: Opaque = attrs.field(converter=lambda _: Opaque())


@attrs.define
class Flagged:
    of: dict[bool, int]


@pytest.mark.parametrize(
    ("into", "text"),
    [
        (Opaque, "is the class .*Opaque, which cannot be created from JSON: make it an attrs class"),
        (list, "is the class builtins.list"),
        (Place("x"), "is Place"),
        (Holds, "the field 'many' has the type the class .*Opaque, which JSON cannot represent"),
        (Node, "Node refers to itself"),
        (Flagged, "the field 'of' is a dict with keys that no JSON object can have"),
        (dict[tuple[int, int], str], "it is a dict with keys that no JSON object can have"),
    ],
)
def test_a_data_class_that_cannot_be_is_refused_when_it_is_added(into, text):
    class Demo(Task):
        class Config:
            NAME = "demo"
            DATA = into

        def start(self):
            """Nothing."""

    app = PyTask()
    with pytest.raises(BadTaskClass, match=rf"Config\.DATA of .*|{text}") as info:
        app.add_task(Demo)
    assert info.match(text)
    assert app.tasks == {}


@pytest.mark.parametrize("into", [None, dict, dict[str, int], Named, Shaped, Visit, Pace, Converted])
def test_what_can_be_one_is_taken(into):
    schema.check(into, "demo")
