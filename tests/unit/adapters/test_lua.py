"""What a script takes is declared once: Python sends it by name, and Lua reads it by name."""

import re
from pathlib import Path

import pytest

from pytask.adapters.redis import lua, scripts
from pytask.adapters.redis.lua import Flag, Flags, Key, Keys, Number, Numbers, Text, Texts
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


@lua.script
def sample(
    *,
    texts: Texts,
    key: Key,
    one: Flag,
    many: Keys,
    text: Text,
    numbers: Numbers,
    number: Number,
    more: Keys,
    flags: Flags,
) -> bytes: ...


VALUES = {
    "key": b"h",
    "many": ["k1", "k2"],
    "more": ["k3"],
    "one": True,
    "text": "t",
    "number": 1.5,
    "texts": ["a", "b", "c"],
    "numbers": [1, 2**53 - 2],
    "flags": [True, False],
}


@pytest.fixture
def machine():
    return pytest.importorskip("lupa.lua51").LuaRuntime()


def seen(machine, call):
    """The values that the names of a script have in Lua."""
    wire = [str(word) if isinstance(word, int | float) else word for word in call.words]
    machine.globals().KEYS = machine.table_from(wire[: call.key_count])
    machine.globals().ARGV = machine.table_from(wire[call.key_count :])
    names = list(call.script.kinds)
    text = "redis = {}\n" + call.script.locals + f"return {', '.join(names)}"
    values = machine.execute(text)
    plain = (list(value.values()) if hasattr(value, "values") else value for value in values)
    return dict(zip(names, plain, strict=True))


def test_each_name_has_its_value_in_lua(machine):
    assert seen(machine, sample(**VALUES)) == VALUES | {"key": "h"}


@pytest.mark.parametrize("name", ["many", "texts", "numbers", "flags"])
def test_a_list_may_be_empty(machine, name):
    values = VALUES | {name: [], "key": "h"}
    assert seen(machine, sample(**values)) == values


def test_a_list_may_be_longer_than_the_stack_of_lua(machine):
    values = VALUES | {"texts": ["x"] * 20_000, "key": "h"}
    assert seen(machine, sample(**values)) == values


def test_a_list_of_keys_may_be_packed_before():
    plain = sample(**VALUES)
    packed = sample(**VALUES | {"more": Packed(VALUES["more"])})
    assert packed.key_count == plain.key_count
    assert [word for word in packed.words if not isinstance(word, Packed)] == [
        word for word in plain.words if word != "k3"
    ]


@pytest.mark.parametrize("wrong", [VALUES | {"other": 1}, {"key": "h"}, {}])
def test_other_names_are_a_type_error(wrong):
    with pytest.raises(TypeError, match="sample: "):
        sample(**wrong)


def test_every_script_is_declared():
    assert {path.stem for path in FOLDER.glob("*.lua")} == DECLARED.keys() | {"prelude"}


@pytest.mark.parametrize("name", DECLARED)
def test_a_script_is_lua_and_uses_all_that_it_takes(machine, name):
    text = DECLARED[name].source[0]
    assert machine.eval("loadstring")(text)
    body = lua.INCLUDE.sub(lambda found: "".join(lua.sections()[s] for s in sections_of(found)), file(name))
    assert DECLARED[name].kinds.keys() <= words_of(body)


@pytest.mark.parametrize("name", DECLARED)
def test_a_script_includes_what_it_uses_and_nothing_else(name):
    (found,) = lua.INCLUDE.finditer(file(name))
    included = sections_of(found)
    assert found[1].split(", ")[0] == lua.NAMES
    body = file(name)[found.end() :]
    own = DECLARED[name].kinds.keys() | names_of(body, ANY)
    for section, text in reversed(lua.sections().items()):
        if section == "server":  # names nothing: it refuses
            used = "server" in DECLARED[name].kinds
        else:
            used = bool(names_of(text) & words_of(body) - own)
        assert (section in included) == used, section
        if used:  # what a section uses itself stands in front of it
            body += text


def file(name):
    return (FOLDER / f"{name}.lua").read_text()


def sections_of(found):
    return found[1].split(", ")[1:]
