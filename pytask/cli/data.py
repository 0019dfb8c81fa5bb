"""The data of a task as given on the command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from pytask.domain.errors import BadData
from pytask.shown.data_checks import parsed


class Data(NamedTuple):
    """Data and its JSON text."""

    value: dict[str, Any] | None

    @property
    def text(self) -> str:
        """The bytes that are stored in the hash."""
        return json.dumps(self.value, ensure_ascii=False, separators=(",", ":"))


def read_data(word: str) -> Data:
    """Data from JSON text, `@file`, or `-` for standard input.  `BadData` points at the position."""
    text, where = word, "--data"
    if word == "-":
        text, where = sys.stdin.read(), "standard input"
    elif word.startswith("@"):
        where = word[1:]
        try:
            text = Path(where).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise click.BadParameter(f"cannot read {where!r}: {error}") from None
    try:
        value = parsed(text, where)
    except RecursionError:
        raise BadData(f"{where} is nested too deeply") from None
    except json.JSONDecodeError as error:
        line = text.splitlines()[error.lineno - 1] if text.strip() else ""
        fault = BadData(f"{where} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}")
        if line:
            start = max(0, error.colno - 40)
            fault.add_note(f"  {line[start : start + 72]}\n  {' ' * (error.colno - 1 - start)}^")
        raise fault from None
    if not isinstance(value, dict):
        raise BadData(f'{where} must be a JSON object such as {{"url": "..."}}, not {type(value).__name__}')
    return Data(value)


def with_pairs(data: Data | None, pairs: Sequence[str]) -> Data:
    """Data with `key=value` words added, which win: valid JSON is parsed, all other values are strings."""
    value = dict(data.value or {}) if data is not None else {}
    given: set[str] = set()
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not key or not equals:
            raise click.UsageError(
                f"{pair!r} is not KEY=VALUE; alternatives: --data JSON, --data @FILE, --data -"
            )
        if key in given:
            raise click.UsageError(f"the key {key!r} is given twice: give it once, as a key has one value")
        given.add(key)
        try:
            value[key] = parsed(text, f"the value of {key!r}")
        except (ValueError, RecursionError):
            value[key] = text
    return Data(value if value or data is not None else None)
