"""Settings of the command line: defaults < file < environment < flags, each with where it came from."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from pytask.adapters.redis.address import DEFAULT_URL, VARIABLES
from pytask.daemon.flags import HANDED_URL, Value
from pytask.domain.errors import BadConfigFile, ConfigError

FILE = "pytask.toml"
PREFIX = "PYTASK_"
# Variables with our prefix that are no settings: for the completion of shells, and of other parts.
OTHER_VARIABLES = ("PYTASK_CONFIG", "PYTASK_COMPLETE", "PYTASK_REDIS_SERVER", HANDED_URL)


class Known(NamedTuple):
    """A setting that exists."""

    default: Any
    kind: type  # str, int, float or bool; None is allowed where it is the default
    text: str


# The fields of `pytask.Settings` come on top of these; they are looked up where somebody sets one.
OWN: dict[str, Known] = {
    "redis_url": Known(
        DEFAULT_URL, str, "Address of Redis: redis://, rediss://, unix:// or redis+cluster://"
    ),
    "namespace": Known("", str, "In front of every key and channel"),
    "partitions": Known(1, int, "Parts of the namespace, for a cluster"),
    "timeout": Known(0.6, float, "Seconds that the command line waits for one answer of Redis"),
    "who": Known("", str, "Name in the history of tasks for who asked; by default user@host"),
    "output": Known("table", str, "Form of what is read: table, wide, json, jsonl or id"),
    "embedded": Known(False, bool, "`run`: start a private Redis server"),
    "data_dir": Known(".pytask", str, "`run`: folder of the embedded server"),
    "monitor": Known(True, bool, "`run`: hand on the tasks of dead workers"),
    "processes": Known(1, int, "`run`: worker processes under one supervisor"),
    "log_level": Known("info", str, "`run`: debug, info, warning or error"),
    "log_format": Known("console", str, "`run`: console or json"),
    "patch": Known("", str, "`run`: what gevent replaces, such as queue=off"),
    "run_dir": Known("", str, "Folder of the sockets for `health`; by default that of the user's session"),
}


class Ambient:
    """What stands in the file and in the environment, below the flags of one call."""

    def __init__(
        self,
        file: str | Path | None = None,
        environ: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self._environ = os.environ if environ is None else environ
        self.file = _find_file(file or self._environ.get("PYTASK_CONFIG"), folder or Path.cwd())
        self._stored = _read_file(self.file) if self.file is not None else {}
        self._looked = False  # for the server of the folder
        self._found: Value | None = None

    def get(self, name: str, flag: Any = None, option: str = "") -> Value:
        """The value of a setting, and its origin; a `flag` that was given wins.  Raises `ConfigError`."""
        return self._get(name, flag, option)._replace(address=name == "redis_url")

    def _get(self, name: str, flag: Any, option: str) -> Value:
        if flag is not None:
            return Value(flag, f"from --{option or name.replace('_', '-')}")
        known = known_settings(more=name not in OWN)[name]
        for variable in _variables(name):
            text = self._environ.get(variable)
            if text:
                return Value(_parse(text, known, f"${variable}"), f"from ${variable}")
        if name in self._stored:
            where = f"{name} in {self.file}"
            return Value(_checked(self._stored[name], known, where), f"from {self.file}")
        if name == "redis_url" and (private := self._private()):
            return private
        return Value(known.default, "the default", given=False)

    def _private(self) -> Value | None:
        """The server that `pytask run --embedded` has started in this folder, while it runs."""
        if self._looked:
            return self._found
        self._looked = True
        folder = Path(self.get("data_dir").value)
        if (folder / "lock").exists():
            from pytask.adapters.embedded import running_url

            url = running_url(folder)
            self._found = Value(url, f"the embedded server of {folder}", private=True) if url else None
        return self._found

    def given(self, names: Iterator[str] | None = None) -> dict[str, Value]:
        """Everything that the file or the environment sets, of all there is to set."""
        wanted = list(names) if names is not None else list(known_settings(more=True))
        found = {name: self.get(name) for name in wanted}
        return {name: value for name, value in found.items() if value.given}

    def check(self) -> None:
        """Raise `BadConfigFile` where the file sets something that is no setting."""
        for name in self._stored:
            if name not in known_settings(more=name not in OWN):
                meant = _meant(name, known_settings(more=True))
                raise BadConfigFile(
                    f"{self.file} sets {name!r}, and there is no such setting{meant}"
                    " `pytask config` lists them all"
                )

    def strays(self) -> list[str]:
        """Sentences about variables with our prefix that set nothing, such as a misspelt one."""
        settings = known_settings(more=True)
        found = []
        for variable in sorted(self._environ):
            name = variable.removeprefix(PREFIX).lower()
            if not variable.startswith(PREFIX) or variable in OTHER_VARIABLES or name in settings:
                continue
            found.append(f"${variable} sets nothing: there is no setting {name!r}{_meant(name, settings)}")
        return found


@cache
def known_settings(*, more: bool) -> dict[str, Known]:
    """All there is to set; with `more`, also the fields of `pytask.Settings`, which take time to import."""
    if not more:
        return OWN
    import attrs

    from pytask.runtime.settings import Settings

    found = dict(OWN)
    kinds: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}
    texts = _doc_texts()
    for field in attrs.fields(Settings):
        kind = kinds.get(str(field.type).partition(" | ")[0])
        if field.name not in found and kind is not None:
            default = None if isinstance(field.default, attrs.Factory) else field.default  # type: ignore[arg-type]
            found[field.name] = Known(default, kind, texts.get(field.name, ""))
    return found


def _doc_texts() -> dict[str, str]:
    """The first sentence of the text below each field, which is where the settings are documented."""
    import ast
    from importlib.resources import files

    source = (files("pytask.runtime") / "settings.py").read_text("utf-8")
    classes = [part for part in ast.parse(source).body if isinstance(part, ast.ClassDef)]
    (fields,) = [part.body for part in classes if part.name == "Settings"]
    found = {}
    for field, text in pairwise(fields):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
            words = " ".join(ast.literal_eval(text.value).split())
            found[ast.unparse(field.target)] = re.split(r"[.;:] |\.$", words)[0]
    return found


# -- the file -----------------------------------------------------------------------------------------------


def _find_file(asked: str | Path | None, folder: Path) -> Path | None:
    if asked:
        path = Path(asked)
        if not path.is_file():
            raise BadConfigFile(
                f"there is no configuration file {str(path)!r} (asked for by --config or $PYTASK_CONFIG):"
                " correct the path, or leave it away: then pytask.toml of the current folder is read, if any"
            )
        return path
    path = folder / FILE
    return Path(FILE) if path.is_file() and folder == Path.cwd() else path if path.is_file() else None


def _read_file(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        stored = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise BadConfigFile(
            f'{path} cannot be read as TOML: {error}. Lines are like: namespace = "app:"  or: max_tasks = 500'
        ) from None
    own = stored.pop("run", {})  # [run] may hold the settings of that verb alone
    if not isinstance(own, dict):
        raise BadConfigFile(f"run in {path} is {own!r}, and must be a table: [run]")
    return stored | own


def _variables(name: str) -> tuple[str, ...]:
    own = PREFIX + name.upper()
    return VARIABLES if name == "redis_url" else (own,)


# -- values -------------------------------------------------------------------------------------------------


WORDS = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}


def _parse(text: str, known: Known, where: str) -> Any:
    """A value from the text of a variable."""
    if known.kind is str:
        return text
    if text.lower() == "none" and known.default is None:
        return None
    reads: dict[type, Callable[[str], Any]] = {bool: lambda word: WORDS[word.lower()], int: int, float: float}
    try:
        return reads[known.kind](text)
    except (KeyError, ValueError):
        raise ConfigError(f"{where} is {text!r}, and must be {_wanted(known)}") from None


def _checked(value: Any, known: Known, where: str) -> Any:
    """A value of the file, whose types are its own."""
    fits = isinstance(value, known.kind) or (known.kind is float and isinstance(value, int))
    if not fits or (isinstance(value, bool) and known.kind is not bool):
        raise BadConfigFile(f"{where} is {value!r}, and must be {_wanted(known)}")
    return value


def _wanted(known: Known) -> str:
    words = {str: "text in quotes", int: "a whole number", float: "a number", bool: "true or false"}
    return words[known.kind]


def _meant(name: str, settings: Mapping[str, Known]) -> str:
    near = get_close_matches(name, settings, n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else "."
