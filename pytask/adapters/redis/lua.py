"""Lua scripts as typed functions: what one takes is declared once, and both sides use the names.

A declaration (see `pytask.adapters.redis.scripts`) is a function without a body.  Its name is that of the
script, its parameters are the keys and the arguments, its result is the reply.  A call of it sends
nothing: it makes a `ScriptCall`, whose words are in the order of the declaration, so that no position is
written by hand on either side.  In the script each parameter is a local variable of the same name: the
text that Redis gets begins with lines like `local worker = ARGV[2]`, made from the declaration.

In a script file the line `--- include: names, time, history` stands for those lines, and for the named
sections of `prelude.lua`, which hold what several scripts need.

A list may have any length: the lengths of all lists are sent in front of their words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache, cached_property
from types import ModuleType
from typing import Annotated, Any, Generic, NamedTuple, ParamSpec, TypeVar

from pytask.adapters.redis.packing import Packed

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
Word = str | bytes


class Kind(NamedTuple):
    """How a parameter is sent, and read in Lua."""

    of: str  # the table of Redis that it is in
    many: bool = False
    read: str = ""  # the Lua function that makes a value out of a word; "" leaves the text


# Of these are the parameters of a declaration.  A list may be packed beforehand.
Key = Annotated[Word, Kind("KEYS")]
Keys = Annotated[Sequence[Word] | Packed, Kind("KEYS", many=True)]
Text = Annotated[Word | Packed, Kind("ARGV")]
Texts = Annotated[Sequence[Word], Kind("ARGV", many=True)]
Number = Annotated[float, Kind("ARGV", read="tonumber")]
Numbers = Annotated[Sequence[float], Kind("ARGV", many=True, read="tonumber")]
Flag = Annotated[bool, Kind("ARGV", read="flag")]
Flags = Annotated[Sequence[bool], Kind("ARGV", many=True, read="flag")]

INCLUDE = re.compile(r"^--- include: (.*)\n", re.MULTILINE)
SECTION = re.compile(r"^--- (\w+)\n", re.MULTILINE)
NAMES = "names"
CALLS = "local call, pcall = redis.call, redis.pcall\n"
FLAG = "local function flag(word) return word == '1' end\n"
SLICE = """\
local function slice(words, from, count, read)
  -- The stack of Lua holds 8000 values.
  if not read and count < 4000 then return {unpack(words, from + 1, from + count)} end
  local found = {}
  for i = 1, count do
    local word = words[from + i]
    if read then word = read(word) end
    found[i] = word
  end
  return found
end
"""


class ScriptCall(NamedTuple, Generic[R_co]):
    """A script with what it is to be called with; its reply is an R_co."""

    script: Script[..., R_co]
    key_count: int  # the keys come first in `words`
    words: list[Any]

    def command(self, *, whole: bool = False) -> tuple[Any, ...]:
        """As a command: by the digest, or with the whole text for a server that does not have the script."""
        text, digest = self.script.source
        head = ("EVAL", text) if whole else ("EVALSHA", digest)
        return (*head, self.key_count, *self.words)


class Script(Generic[P, R_co]):
    """A declared script."""

    def __init__(self, declaration: Callable[P, R_co]) -> None:
        self.name = declaration.__name__
        self.kinds: dict[str, Kind] = {
            name: hint.__metadata__[0]
            for name, hint in declaration.__annotations__.items()
            if name != "return"
        }
        # In the order in which they are sent; the length of each list is an argument, too.
        self._keys = self._names("KEYS", many=False)
        self._key_lists = self._names("KEYS", many=True)
        self._args = self._names("ARGV", many=False)
        self._arg_lists = self._names("ARGV", many=True)
        self._flags = [name for name, kind in self.kinds.items() if kind.read == "flag"]

    def __call__(self, *_: P.args, **given: P.kwargs) -> ScriptCall[R_co]:
        """A call with these keys and arguments, all of them by name."""
        if given.keys() != self.kinds.keys():
            raise TypeError(f"{self.name}: {', '.join(given.keys() ^ self.kinds.keys())}")
        values: dict[str, Any] = given
        for name in self._flags:
            values[name] = _sent(values[name])
        words = [values[name] for name in self._keys]
        count, lengths = len(words), []
        for name in self._key_lists:
            some = values[name]
            if isinstance(some, Packed):
                words.append(some)
                length = some.count
            else:
                words += some
                length = len(some)
            lengths.append(length)
            count += length
        words += [values[name] for name in self._args]
        lists = [values[name] for name in self._arg_lists]
        words += lengths
        words += map(len, lists)
        for some in lists:
            words += some
        return ScriptCall(self, count, words)

    @cached_property
    def source(self) -> tuple[str, str]:
        """The text that Redis gets, and its SHA-1."""
        return load(self)

    @property
    def locals(self) -> str:
        """The lines that name the keys and the arguments."""
        lines = [
            *_scalars("KEYS", self._keys, self.kinds),
            *_scalars("ARGV", self._args, self.kinds),
            *_lists("KEYS", self._key_lists, self.kinds, len(self._keys), len(self._args)),
        ]
        lengths = len(self._args) + len(self._key_lists)
        first = lengths + len(self._arg_lists)
        lines += _lists("ARGV", self._arg_lists, self.kinds, first, lengths)
        helpers = FLAG if self._flags else ""
        if self._key_lists or self._arg_lists:
            helpers += SLICE
        return CALLS + helpers + "".join(lines)

    def _names(self, of: str, *, many: bool) -> list[str]:
        return [name for name, kind in self.kinds.items() if (kind.of, kind.many) == (of, many)]


def script(declaration: Callable[P, R_co]) -> Script[P, R_co]:
    """Declare the script that is named like this function, with its parameters."""
    return Script(declaration)


def declared(module: ModuleType) -> list[Script[..., Any]]:
    """The scripts that a module declares."""
    return [one for one in vars(module).values() if isinstance(one, Script)]


def load(one: Script[..., Any]) -> tuple[str, str]:
    """The text of a script with all that it includes, and its SHA-1."""
    import hashlib  # not quick to import, and needed only where a script is sent

    text = INCLUDE.sub(lambda found: _included(one, found[1]), file_of(one.name))
    return text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


@cache
def sections() -> dict[str, str]:
    """The sections of the prelude, by name."""
    _, *parts = SECTION.split(file_of("prelude"))
    return dict(zip(parts[::2], parts[1::2], strict=True))


def file_of(name: str) -> str:
    """What stands in a file of the scripts."""
    from importlib.resources import files  # as above

    return (files("pytask.adapters.redis") / "scripts" / f"{name}.lua").read_text("utf-8")


def _included(one: Script[..., Any], names: str) -> str:
    return "".join(one.locals if name == NAMES else sections()[name] for name in names.split(", "))


def _scalars(of: str, names: Sequence[str], kinds: dict[str, Kind]) -> Iterator[str]:
    for at, name in enumerate(names, 1):
        read = kinds[name].read
        yield f"local {name} = {read}({of}[{at}])\n" if read else f"local {name} = {of}[{at}]\n"


def _lists(of: str, names: Sequence[str], kinds: dict[str, Kind], first: int, lengths: int) -> Iterator[str]:
    """Lists behind the `first` words of a table, each as long as ARGV says behind its `lengths` words."""
    start = str(first)
    for at, name in enumerate(names, lengths + 1):
        read = f", {kinds[name].read}" if kinds[name].read else ""
        yield f"local {name} = slice({of}, {start}, tonumber(ARGV[{at}]){read})\n"
        start += f" + #{name}"


def _sent(value: Any) -> Any:
    """A flag, or a list of flags, as it is sent."""
    return ("1" if value else "") if isinstance(value, bool) else ["1" if one else "" for one in value]
