"""Settings of the command line: defaults < file < environment < flags, each with its origin."""

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
# Variables with the prefix that are not settings, such as that of shell completion.
OTHER_VARIABLES = ("PYTASK_CONFIG", "PYTASK_COMPLETE", "PYTASK_REDIS_SERVER", HANDED_URL)


class Known(NamedTuple):
    """A setting that exists."""

    default: Any
    kind: type  # str, int, float or bool; None is allowed where it is the default
    text: str


# The fields of `pytask.Settings` are added to these; they are imported only if one is set.
OWN: dict[str, Known] = {
    "redis_url": Known(DEFAULT_URL, str, "Redis address: redis://, rediss://, unix:// or redis+cluster://"),
    "namespace": Known("", str, "Prefix of every key and channel"),
    "partitions": Known(1, int, "Number of partitions of the namespace, for Redis Cluster"),
    "timeout": Known(0.6, float, "Seconds that the command line waits for a reply of Redis"),
    "who": Known("", str, "Name recorded in the history of tasks as the requester; default: user@host"),
    "output": Known("table", str, "Output format: table, wide, json, jsonl or id"),
    "embedded": Known(False, bool, "`run`: start a private Redis server"),
    "data_dir": Known(".pytask", str, "`run`: data directory of the embedded server"),
    "monitor": Known(True, bool, "`run`: run a monitor, which requeues the tasks of dead workers"),
    "processes": Known(1, int, "`run`: worker processes under one supervisor"),
    "log_level": Known("info", str, "`run`: debug, info, warning or error"),
    "log_format": Known("console", str, "`run`: console or json"),
    "patch": Known("", str, "`run`: what gevent patches, such as queue=off"),
    "run_dir": Known("", str, "Directory of the sockets for `health`; default: the user's runtime directory"),
}


class Ambient:
    """The settings of the file and the environment, which the flags of one call override.

    With `dev`, the default address is that of the `pytask dev` of this directory, if one runs.
    """

    def __init__(
        self,
        file: str | Path | None = None,
        environ: Mapping[str, str] | None = None,
        folder: Path | None = None,
        *,
        dev: bool = False,
    ) -> None:
        self._environ = os.environ if environ is None else environ
        self.file = _find_file(file or self._environ.get("PYTASK_CONFIG"), folder or Path.cwd())
        self._stored = _read_file(self.file) if self.file is not None else {}
        self._dev = dev
        self._looked = False  # whether the directory's server was looked up
        self._found: Value | None = None

    def get(self, name: str, flag: Any = None, option: str = "") -> Value:
        """The value of a setting and its origin; a given `flag` wins.  Raises `ConfigError`."""
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
        """The running server that `pytask run --embedded` or `pytask dev` started in this directory."""
        if self._looked:
            return self._found
        self._looked = True
        folder = Path(self.get("data_dir").value)
        if (folder / "lock").exists():
            from pytask.adapters.embedded import running_url

            url = running_url(folder)
            self._found = Value(url, f"the embedded server of {folder}", private=True) if url else None
        if self._dev and self._found is None:
            from pytask.dev import folders

            url = folders.running(Path.cwd())
            self._found = Value(url, "the server of `pytask dev` here", private=True) if url else None
        return self._found

    def given(self, names: Iterator[str] | None = None) -> dict[str, Value]:
        """All settings that the file or the environment sets."""
        wanted = list(names) if names is not None else list(known_settings(more=True))
        found = {name: self.get(name) for name in wanted}
        return {name: value for name, value in found.items() if value.given}

    def check(self) -> None:
        """Raise `BadConfigFile` if the file sets an unknown setting."""
        for name in self._stored:
            if name not in known_settings(more=name not in OWN):
                meant = _meant(name, known_settings(more=True))
                raise BadConfigFile(
                    f"{self.file} sets {name!r}, which is not a setting{meant} `pytask config` lists them all"
                )

    def strays(self) -> list[str]:
        """Sentences about variables with our prefix that have no effect, such as a misspelt one."""
        settings = known_settings(more=True)
        found = []
        for variable in sorted(self._environ):
            name = variable.removeprefix(PREFIX).lower()
            if not variable.startswith(PREFIX) or variable in OTHER_VARIABLES or name in settings:
                continue
            found.append(f"${variable} has no effect: there is no setting {name!r}{_meant(name, settings)}")
        return found


@cache
def known_settings(*, more: bool) -> dict[str, Known]:
    """All settings; with `more`, also the fields of `pytask.Settings`, which are slow to import."""
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
    """The first sentence of the docstring below each field."""
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
                f"configuration file {str(path)!r} not found (given by --config or $PYTASK_CONFIG): correct"
                " the path, or omit it to read pytask.toml of the current directory, if present"
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
            f'{path} cannot be read as TOML: {error}. Example lines: namespace = "app:"  or: max_tasks = 500'
        ) from None
    own = stored.pop("run", {})  # [run] may hold settings of that command only
    if not isinstance(own, dict):
        raise BadConfigFile(f"run in {path} is {own!r}, but must be a table: [run]")
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
    """A value parsed from the text of a variable."""
    if known.kind is str:
        return text
    if text.lower() == "none" and known.default is None:
        return None
    reads: dict[type, Callable[[str], Any]] = {bool: lambda word: WORDS[word.lower()], int: int, float: float}
    try:
        return reads[known.kind](text)
    except (KeyError, ValueError):
        raise ConfigError(f"{where} is {text!r}, but must be {_wanted(known)}") from None


def _checked(value: Any, known: Known, where: str) -> Any:
    """A value of the file, which is already typed."""
    fits = isinstance(value, known.kind) or (known.kind is float and isinstance(value, int))
    if not fits or (isinstance(value, bool) and known.kind is not bool):
        raise BadConfigFile(f"{where} is {value!r}, but must be {_wanted(known)}")
    return value


def _wanted(known: Known) -> str:
    words = {str: "text in quotes", int: "a whole number", float: "a number", bool: "true or false"}
    return words[known.kind]


def _meant(name: str, settings: Mapping[str, Known]) -> str:
    near = get_close_matches(name, settings, n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else "."
