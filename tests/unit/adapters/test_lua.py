"""What a script takes is declared once: Python sends it by name, and Lua reads it by name."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import pytest

from pytask.adapters.redis import lua, scripts
from pytask.adapters.redis.lua import (
    AnyTexts,
    Flag,
    Flags,
    FourKeys,
    Key,
    Keys,
    Number,
    Numbers,
    Text,
    Texts,
    ThreeTexts,
    records,
    script,
)
from pytask.adapters.redis.packing import Packed

FOLDER = Path(lua.__file__).with_name("scripts")
DECLARED = {one.name: one for one in lua.declared(scripts)}
TOP = re.compile(r"^local (?:function )?(\w+(?:, \w+)*)", re.MULTILINE)
ANY = re.compile(r"\blocal (?:function )?(\w+(?:, \w+)*)")
HIDDEN = re.compile(r"--.*|'[^']*'")  # comments, and text


def words_of(text):
    return set(re.findall(r"\b\w+\b", HIDDEN.sub("", text)))


def names_of(text, pattern=TOP):
    """What a text defines for those behind it, or anywhere."""
    return {name for names in pattern.findall(text) for name in names.split(", ")}


class Row(NamedTuple):
    name: Text
    count: Number = 0
    good: Flag = False


@script
def sample(
    *,
    texts: Texts,
    key: Key,
    one: Flag,
    many: Keys,
    four: FourKeys,
    text: Text,
    rows: Annotated[Sequence[Row], records(Row)],
    numbers: Numbers,
    any_texts: AnyTexts,
    number: Number,
    more: Keys,
    three: ThreeTexts,
    flags: Flags,
) -> bytes: ...


VALUES = {
    "key": b"h",
    "many": ["k1", "k2"],
    "more": ["k3", "k4"],
    "four": ("f1", "f2", "f3", "f4"),
    "three": ("t1", "t2", "t3"),
    "one": True,
    "text": "t",
    "number": 1.5,
    "texts": ["a", "b"],
    "any_texts": ["c", "d", "e"],
    "numbers": [1, 2**53 - 2],
    "flags": [True, False],
    "rows": [Row("r1", 7, good=True), Row("r2")],
}
LISTS = ["many", "more", "four", "three", "texts", "any_texts", "numbers", "flags"]
EACH = ["many", "more", "texts", "numbers", "flags"]  # all of one length


@pytest.fixture
def machine():
    return pytest.importorskip("lupa.lua51").LuaRuntime()


def read(machine, call, body):
    """What a body of the script returns when it is called like this."""
    wire = [str(word) if isinstance(word, int | float) else word for word in call.words]
    machine.globals().KEYS = machine.table_from(wire[: call.key_count])
    machine.globals().ARGV = machine.table_from(wire[call.key_count :])
    machine.globals().redis = machine.table()
    return machine.execute(lua.named(call.script, body))


def plain(value):
    """A table of Lua as a list, or as a dict."""
    if not hasattr(value, "items"):
        return value
    found = {key: plain(one) for key, one in value.items()}
    return list(found.values()) if not found or 1 in found else found


def seen(machine, call):
    """The values that the names of a script have in Lua."""
    values = read(machine, call, f"return {', '.join(call.script.kinds)}")
    return dict(zip(call.script.kinds, map(plain, values), strict=True))


def expected(values):
    lists = {name: list(values[name]) for name in LISTS}
    return values | lists | {"key": "h", "rows": [row._asdict() for row in values["rows"]]}


def test_each_name_has_its_value_in_lua(machine):
    assert seen(machine, sample(**VALUES)) == expected(VALUES)


@pytest.mark.parametrize("names", [["any_texts"], ["rows"], EACH])
def test_a_list_may_be_empty(machine, names):
    values = VALUES | {name: [] for name in names}
    assert seen(machine, sample(**values)) == expected(values)


def test_a_list_may_be_longer_than_the_stack_of_lua(machine):
    values = VALUES | {"any_texts": ["x"] * 20_000}
    assert seen(machine, sample(**values)) == expected(values)


@pytest.mark.parametrize("name", LISTS)
def test_a_list_of_which_only_entries_are_taken_is_not_copied(machine, name):
    body = f"return #{name}, {name}[1], {name}[#{name}]"
    assert f"local {name} =" not in lua.named(sample, body)
    values = VALUES[name]
    assert read(machine, sample(**VALUES), body) == (len(values), values[0], values[-1])


def test_some_entries_of_a_list_are_taken_from_where_they_stand(machine):
    body = "return unpack(any_texts, 2, #any_texts)"
    assert "local any_texts =" not in lua.named(sample, body)
    assert read(machine, sample(**VALUES), body) == ("d", "e")


def test_lists_with_a_word_for_each_hash_are_of_one_length():
    with pytest.raises(ValueError, match="sample: not of one length: many, more, texts, numbers, flags"):
        sample(**VALUES | {"flags": [True]})


def test_a_list_of_keys_may_be_packed_before():
    plain = sample(**VALUES)
    packed = sample(**VALUES | {"more": Packed(VALUES["more"])})
    assert packed.key_count == plain.key_count
    assert [word for word in packed.words if not isinstance(word, Packed)] == [
        word for word in plain.words if word not in VALUES["more"]
    ]


@pytest.mark.parametrize("wrong", [VALUES | {"other": 1}, {"key": "h"}, {}])
def test_other_names_are_a_type_error(wrong):
    with pytest.raises(TypeError, match="sample"):
        sample(**wrong)


def test_every_script_is_declared():
    assert {path.stem for path in FOLDER.glob("*.lua")} == DECLARED.keys() | set(lua.SHARED)


@pytest.mark.parametrize("name", DECLARED)
def test_a_script_is_lua_and_uses_all_that_it_takes(machine, name):
    text = DECLARED[name].source[0]
    assert machine.eval("loadstring")(text)
    body = lua.INCLUDE.sub(lambda found: "".join(lua.sections()[s] for s in sections_of(found)), file(name))
    assert DECLARED[name].kinds.keys() <= words_of(body)


@pytest.mark.parametrize("name", DECLARED)
def test_a_script_includes_what_it_uses_and_nothing_else(name):
    text = file(name)
    first, *inner = lua.INCLUDE.finditer(text)
    assert first[1].split(", ")[0] == lua.NAMES
    outer, end, body = set(sections_of(first)), len(text), ""
    for found in reversed([first, *inner]):
        included = sections_of(found)
        body = text[found.end() : end] + body
        end = found.start()
        own = DECLARED[name].kinds.keys() | names_of(body, ANY)
        for section, lines in reversed(lua.sections().items()):
            if section in {"server", "known_marker"}:  # they name nothing: they refuse
                used = found is first and section in DECLARED[name].kinds
            else:
                used = bool(names_of(lines) & words_of(body) - own)
            if found is not first:
                assert not (section in included and section in outer), section
                used = used and section not in outer
            assert (section in included) == used, section
            if used:  # what a section uses itself stands in front of it
                body = lines + body


def file(name):
    return (FOLDER / f"{name}.lua").read_text()


def sections_of(found):
    return [name for name in found[1].split(", ") if name != lua.NAMES]


@pytest.mark.parametrize("name", DECLARED)
def test_the_names_stand_alone(machine, name):
    """The audit of the chaos tests puts them into a script of its own."""
    machine.compile(DECLARED[name].locals)
