"""Lua scripts as typed functions: parameters are declared once, and both sides use their names.

A declaration (see `pytask.adapters.redis.scripts`) is a function without a body.  Its name is that of the
script, its parameters are the keys and the arguments, its result is the reply.  A call sends nothing: it
returns a `ScriptCall` whose words are in the order of the declaration, so neither side contains positions.
In the script each parameter is a local variable of the same name: the text that Redis receives begins with
lines like `local worker = ARGV[2]`, generated from the declaration.

In a script file the line `--- include: names, time, history` is replaced by those lines and by the named
sections of `prelude.lua`, `slots.lua` or `admission.lua`.  Further such lines, without `names`, may be inside
of a block that is seldom run: Redis makes the functions of a section each time it gets there.

Nearly all lists have one word per hash of the call: their length follows from the number of keys.  Others
have a fixed or any length.  A list that a script only indexes (`hashes[i]`, `#hashes`,
`unpack(hashes, 1, i)`) is not copied: `KEYS[7 + i]` is written there instead.

Values that are the same in every call are not sent: see `pytask.adapters.redis.constants`.

Both the text for Redis and the Python function that orders the words are generated once, because they are
part of the cost of every task.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache, cached_property
from types import ModuleType
from typing import Annotated, Any, Generic, NamedTuple, ParamSpec, TypeVar

from pytask.adapters.redis.constants import CONSTANTS, in_lua
from pytask.adapters.redis.packing import Packed

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
Word = str | bytes

ONE = "one"  # a single word
FIXED = "fixed"  # a list of the length in the declaration
EACH = "each"  # a list with one word per hash, as long as the first list of keys
SENT = "sent"  # a list of any length, which is sent; that of the last such list follows from #ARGV
NUMBER, FLAG, FLAG_SENT = "tonumber(%s)", "(%s == '1')", "('1' if %s else '')"


class Kind(NamedTuple):
    """How a parameter is sent, and read in Lua."""

    of: str  # its table in Redis
    length: str = ONE
    read: str = "%s"  # the Lua expression that converts a word to a value
    send: str = "%s"  # the Python expression that converts a value to a word
    fixed: int = 0  # words of a fixed list
    record: Any = None  # the NamedTuple of its items; the fields have the kinds Text, Number, Flag

    @property
    def width(self) -> int:
        """The number of words of one list item."""
        return len(_kinds(self.record)) if self.record else 1


# The types of the parameters of a declaration.
Key = Annotated[Word, Kind("KEYS")]
Text = Annotated[Word | Packed, Kind("ARGV")]
Number = Annotated[float, Kind("ARGV", read=NUMBER)]
Flag = Annotated[bool, Kind("ARGV", read=FLAG, send=FLAG_SENT)]
# One for each hash.  Keys may be packed beforehand.
Keys = Annotated[Sequence[Word] | Packed, Kind("KEYS", EACH)]
Texts = Annotated[Sequence[Word], Kind("ARGV", EACH)]
Numbers = Annotated[Sequence[float], Kind("ARGV", EACH, NUMBER)]
Flags = Annotated[Sequence[bool], Kind("ARGV", EACH, FLAG, FLAG_SENT)]
# The number in the name, or any number; for records see `records`.
ThreeTexts = Annotated[tuple[Word, Word, Word], Kind("ARGV", FIXED, fixed=3)]
FourKeys = Annotated[tuple[Word, Word, Word, Word], Kind("KEYS", FIXED, fixed=4)]
AnyTexts = Annotated[Sequence[Word], Kind("ARGV", SENT)]

INCLUDE = re.compile(r"^ *--- include: (.*)\n", re.MULTILINE)
SECTION = re.compile(r"^--- (\w+)\n", re.MULTILINE)
HIDDEN = re.compile(r"--.*|'[^'\n]*'")  # comments and text
NAMES = "names"
SHARED = ("slots", "admission", "prelude")  # files of sections
TABLES = ("KEYS", "ARGV")
CALLS = "local call, pcall, KEYS, ARGV = redis.call, redis.pcall, KEYS, ARGV\n"


class ScriptCall(NamedTuple, Generic[R_co]):
    """A script with its keys and arguments; its reply is an R_co."""

    script: Script[..., R_co]
    key_count: int  # the keys come first in `words`
    words: list[Any]

    def command(self, *, whole: bool = False) -> tuple[Any, ...]:
        """The command: by digest, or with the text for a server without the script."""
        text, digest = self.script.source
        if whole:
            return ("EVAL", text, self.key_count, *self.words)
        return ("EVALSHA", digest, self.key_count, *self.words)


class Script(Generic[P, R_co]):
    """A declared script."""

    def __init__(self, declaration: Callable[P, R_co]) -> None:
        self.name = declaration.__name__
        self.kinds = _kinds(declaration)

    def __call__(self, *_: P.args, **given: P.kwargs) -> ScriptCall[R_co]:
        """A call with these keys and arguments, all by name."""
        # Generated at the first call, as most programs use few scripts.  Each has its own class (see
        # `script`), where Python looks up `__call__`: later calls reach the function directly.
        type(self).__call__ = compiled(self)  # type: ignore[method-assign]
        return self(*_, **given)

    def prepare(self) -> None:
        """Do now what the first call would do: make the text and the function."""
        _ = self.source
        type(self).__call__ = compiled(self)  # type: ignore[method-assign]

    @cached_property
    def source(self) -> tuple[str, str]:
        """The text that Redis receives, and its SHA-1."""
        return load(self)

    @property
    def locals(self) -> str:
        """The lines that name the keys and the arguments."""
        names = ", ".join(self.kinds)
        return named(self, names).removesuffix(names)

    def names(self, of: str, length: str) -> list[str]:
        """The parameters of a table with this kind of length, in the order in which they are sent."""
        return [name for name, kind in self.kinds.items() if (kind.of, kind.length) == (of, length)]

    def head(self, of: str) -> int:
        """The number of words of a table before its lists per hash and of any length."""
        fixed = sum(self.kinds[name].fixed for name in self.names(of, FIXED))
        return len(self.names(of, ONE)) + fixed + len(self.names(of, SENT)[:-1])


def script(declaration: Callable[P, R_co]) -> Script[P, R_co]:
    """Declare the script with the name and the parameters of this function."""
    own: type[Script[P, R_co]] = type(declaration.__name__, (Script,), {})
    return own(declaration)


def records(record: Any) -> Kind:
    """Any number of these NamedTuples; in Lua each is a table with the same fields."""
    return Kind("ARGV", SENT, record=record)


def declared(module: ModuleType) -> list[Script[..., Any]]:
    """The scripts that a module declares."""
    return [one for one in vars(module).values() if isinstance(one, Script)]


# -- the Python function ------------------------------------------------------------------------------


def compiled(one: Script[..., R_co]) -> Callable[..., ScriptCall[R_co]]:
    """The call function: `def unpark(self, *, parked, ...): return ScriptCall(self, 2, [parked, ...])`."""
    lines = [f"def {one.name}(self, *, {', '.join(one.kinds)}):"]
    count = str(one.head("KEYS"))
    each = [*one.names("KEYS", EACH), *one.names("ARGV", EACH)]
    if len(each) > 1:
        lines.append(f"    if not {' == '.join(f'len({name})' for name in each)}:")
        lines.append(f"        raise ValueError('{one.name}: not of one length: {', '.join(each)}')")
    if each:
        count += f" + {len(one.names('KEYS', EACH))} * len({each[0]})"
    lines.append(f"    return ScriptCall(self, {count}, [{', '.join(_words(one))}])")
    space: dict[str, Any] = {"ScriptCall": ScriptCall}
    exec("\n".join(lines), space)  # noqa: S102 - made of a declaration's names, as attrs makes its methods
    return space[one.name]  # type: ignore[no-any-return]


def _words(one: Script[..., Any]) -> Iterator[str]:
    """The expressions of the list of words."""
    for of in TABLES:
        for name in one.names(of, ONE):
            yield one.kinds[name].send % name
        for name in one.names(of, FIXED):
            yield f"*{name}"
        for name in one.names(of, SENT)[:-1]:
            yield f"len({name})"
        for name in one.names(of, EACH) + one.names(of, SENT):
            yield _spread(name, one.kinds[name])


def _spread(name: str, kind: Kind) -> str:
    if kind.record:
        fields = [field.send % f"one.{at}" for at, field in _kinds(kind.record).items()]
        return f"*[word for one in {name} for word in ({', '.join(fields)})]"
    return f"*{name}" if kind.send == "%s" else f"*[{kind.send % 'one'} for one in {name}]"


def _kinds(declaration: Any) -> dict[str, Kind]:
    hints = declaration.__annotations__
    return {name: hint.__metadata__[0] for name, hint in hints.items() if name != "return"}


# -- the text of the script ---------------------------------------------------------------------------


def load(one: Script[..., Any]) -> tuple[str, str]:
    """The text of a script with its includes, and its SHA-1."""
    import hashlib  # slow to import, and needed only to send a script

    head, names, body = INCLUDE.split(file_of(one.name), maxsplit=1)
    body = _included(names.removeprefix(NAMES).removeprefix(", ")) + body
    body = INCLUDE.sub(lambda found: _included(found[1]), body)
    text = head + named(one, _constants(one, body) + body)
    return text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def _included(names: str) -> str:
    return "".join(sections()[name] for name in names.split(", ") if name)


def _constants(one: Script[..., Any], body: str) -> str:
    used = set(re.findall(r"\w+", HIDDEN.sub("", body))) - one.kinds.keys()
    lines = [f"local {name} = {in_lua(value)}\n" for name, value in CONSTANTS.items() if name in used]
    return "".join(lines)


@cache
def sections() -> dict[str, str]:
    """The sections of the files that are no verbs, by name."""
    found: dict[str, str] = {}
    for name in SHARED:
        _, *parts = SECTION.split(file_of(name))
        found |= zip(parts[::2], parts[1::2], strict=True)
    return found


def file_of(name: str) -> str:
    """The content of a script file."""
    from importlib.resources import files  # as above

    return (files("pytask.adapters.redis") / "scripts" / f"{name}.lua").read_text("utf-8")


def named(one: Script[..., Any], body: str) -> str:
    """A text after the lines that define the keys and arguments that it uses."""
    lines = [CALLS, *_singles(one), *_counts(one)]
    for name, start, count in _places(one):
        kind = one.kinds[name]
        spelled = _spelled_out(body, name, kind, start, count)
        if kind.record:
            lines.append(_copied_records(name, kind, start, count))
        elif re.search(_word(name), HIDDEN.sub("", spelled)):
            lines.append(_copied(name, kind.read % f"{kind.of}[{start} + i]", count))
        else:
            body = spelled
    return "".join(lines) + body


def _singles(one: Script[..., Any]) -> Iterator[str]:
    for of in TABLES:
        for at, name in enumerate(one.names(of, ONE), 1):
            yield f"local {name} = {one.kinds[name].read % f'{of}[{at}]'}\n"


def _counts(one: Script[..., Any]) -> Iterator[str]:
    """The lengths of lists that are not fixed: sent before the lists, or from the number of words."""
    for hashes in one.names("KEYS", EACH)[:1]:
        lists = len(one.names("KEYS", EACH))
        yield f"local {hashes}_count = (#KEYS - {one.head('KEYS')}) / {lists}\n"
    *sent, last = one.names("ARGV", SENT) or [""]
    for at, name in enumerate(sent, one.head("ARGV") - len(sent) + 1):
        yield f"local {name}_count = tonumber(ARGV[{at}])\n"
    for name, start, _ in _places(one):
        if name == last:
            yield f"local {name}_count = (#ARGV - ({start})) / {one.kinds[name].width}\n"


def _places(one: Script[..., Any]) -> Iterator[tuple[str, str, str]]:
    """For each list its name, and Lua expressions for its offset and its length."""
    hashes = (one.names("KEYS", EACH) or [""])[0]
    for of in TABLES:
        at = len(one.names(of, ONE))
        for name in one.names(of, FIXED):
            yield name, str(at), str(one.kinds[name].fixed)
            at += one.kinds[name].fixed
        start = str(one.head(of))
        for name in one.names(of, EACH):
            yield name, start, f"{hashes}_count"
            start += f" + {hashes}_count"
        for name in one.names(of, SENT):
            yield name, start, f"{name}_count"
            start += f" + {name}_count * {one.kinds[name].width}"


def _word(name: str) -> str:
    return rf"(?<![\w.:]){name}\b"


def _spelled_out(text: str, name: str, kind: Kind, start: str, count: str) -> str:
    """A text with the words instead of `name[i]`, `unpack(name, 1, i)` and `#name`."""
    entry = kind.read % f"{kind.of}[{start} + %s]"
    text = re.sub(_word(name) + r"\[([^][]+)\]", lambda found: entry % found[1], text)
    if kind.read == "%s":
        some = rf"unpack({kind.of}, {start} + \1, {start} + \2)"
        text = re.sub(rf"\bunpack\({name}, ([^,()]+), ([^,()]+)\)", some, text)
    return re.sub(rf"#{name}\b", count, text)


def _copied(name: str, entry: str, count: str) -> str:
    return f"local {name} = {{}}\nfor i = 1, {count} do {name}[i] = {entry} end\n"


def _copied_records(name: str, kind: Kind, start: str, count: str) -> str:
    fields = _kinds(kind.record)
    words = [
        f"{field} = {how.read % f'ARGV[at + {place}]'}"
        for place, (field, how) in enumerate(fields.items(), 1)
    ]
    return (
        f"local {name} = {{}}\n"
        f"for i = 1, {count} do\n"
        f"  local at = {start} + (i - 1) * {len(fields)}\n"
        f"  {name}[i] = {{{', '.join(words)}}}\n"
        "end\n"
    )
