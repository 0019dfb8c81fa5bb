"""Output of commands: rows as a table, as lines, as JSON.  Only data goes to standard output."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import click

from pytask.cli.columns import rows_of, widths
from pytask.domain.errors import ConfigError
from pytask.domain.escaping import escaped, in_json
from pytask.terminal import HANG, out, wrapped

VERSION = 1
"""Version of the JSON: incremented when a field changes its meaning or is removed; fields may be added."""

STREAM = 500  # rows of a stream that are formatted together
FORMS = ("table", "wide", "json", "jsonl", "id")
WHOLE = ("id", "session", "run", "state", "_state")  # never wrapped, so that they can be copied
STYLES = (
    "green",
    "cyan",
    "red",
    "magenta",
    "yellow",
)  # colours of the states, in the order of their declaration


class Column(NamedTuple):
    """A column of a table: the field of the row, its title, and whether only `wide` shows it.

    A field that begins with _ is not part of the JSON.
    """

    field: str
    title: str
    wide: bool = False


class Printer:
    """Prints rows in the requested format."""

    def __init__(self, form: str = "table") -> None:
        if form not in FORMS:
            raise ConfigError(f"unknown output format {form!r}; formats: {', '.join(FORMS)}")
        self.form = form

    def rows(
        self,
        kind: str,
        rows: Iterable[Mapping[str, Any]],
        columns: Sequence[Column],
        *,
        key: str = "id",
        **envelope: Any,
    ) -> None:
        """A list of `kind` (plural); `key` is the field that `-o id` prints."""
        listed = list(rows)
        plain = [{name: value for name, value in row.items() if name[0] != "_"} for row in listed]
        if self.form == "json":
            out(_json({"version": VERSION, "kind": kind, "items": plain, **envelope}))
        elif self.form == "jsonl":
            for item in plain:
                out(_json({"version": VERSION, "kind": kind.removesuffix("s"), **item}))
        elif self.form == "id":
            for row in listed:
                out(printable(row[key]))
        else:
            shown = [column for column in columns if self.form == "wide" or not column.wide]
            table(listed, shown)

    def stream(self, kind: str, rows: Iterable[Mapping[str, Any]], columns: Sequence[Column]) -> None:
        """Print rows as they arrive; JSON is printed as lines."""
        one = Printer("jsonl") if self.form == "json" else self
        several = iter(rows)
        while batch := list(islice(several, STREAM)):
            one.rows(kind, batch, columns)

    def listing(self, kind: str, rows: Iterable[Mapping[str, Any]], columns: Sequence[Column]) -> None:
        """Print a list of any length as it is read; its JSON is still one document."""
        several = iter(rows)
        batch = list(islice(several, STREAM))
        if self.form != "json":
            self.rows(kind, batch, columns)
            self.stream(kind, several, columns)
            return
        opening, closing = _json({"version": VERSION, "kind": kind, "items": []}).split("[]")
        out(opening + "[", nl=False)
        between = ""
        while batch:
            plain = ({name: value for name, value in row.items() if name[0] != "_"} for row in batch)
            out(between + ", ".join(map(_json, plain)), nl=False)
            between, batch = ", ", list(islice(several, STREAM))
        out("]" + closing)

    def record(
        self, kind: str, row: Mapping[str, Any], lines: Sequence[tuple[str, Any]], key: str = "id"
    ) -> None:
        """Print one record: its fields as JSON, or `lines` of (label, value) as text."""
        if self.form in ("json", "jsonl"):
            out(_json({"version": VERSION, "kind": kind, **row}))
        elif self.form == "id":
            out(printable(row[key]))
        else:
            pairs(lines)


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> None:
    """On a terminal a coloured table that fits its width, else plain columns without truncation."""
    if fancy():
        console().print(drawn_table(rows, columns), soft_wrap=True)
        return
    lines = _cells(rows, columns)
    broad = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    for line in lines:
        out("  ".join(cell.ljust(width) for cell, width in zip(line, broad, strict=True)).rstrip())


def _cells(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> list[list[str]]:
    """The titles and the cells below them."""
    titles = [printable(column.title.upper()) for column in columns]
    return [titles, *([printable(row.get(column.field)) for column in columns] for row in rows)]


def drawn_table(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], width: int | None = None
) -> Any:
    """A table as a rich text of the terminal's width, with coloured states."""
    from rich.text import Text

    from pytask.domain.lifecycle import State

    styles = {str(state): style for state, style in zip(State, STYLES, strict=True)}
    lines = _cells(rows, columns)
    fitting = widths(lines, [column.field in WHOLE for column in columns], width or console().width)
    drawn = Text("\n", end="").join(
        Text("  ").join(Text(cell, styles.get(cell.strip(), "" if at else "bold")) for cell in cells)
        for at, line in enumerate(lines)
        for cells in rows_of(line, fitting)
    )
    drawn.no_wrap = True
    return drawn


def pairs(lines: Sequence[tuple[str, Any]]) -> None:
    """Print labels and values, one per line, without None values.  If no label is set: only the values.

    A list takes one line per item, any other value exactly one line.
    """
    shown = [(printable(label) if label else "", value) for label, value in lines if value is not None]
    width = max((len(label) for label, _ in shown), default=0)
    gap = HANG if width else ""
    for label, value in shown:
        head = f"{label:<{width}}{gap}"
        for line in value if isinstance(value, list) else [value]:
            text = printable(line) if line != "" or not isinstance(value, list) else ""
            out(wrapped(f"{head}{text}".rstrip(), sys.stdout, " " * len(head) or HANG))
            head = " " * len(head)


def fancy() -> bool:
    """Whether standard output is a terminal with support for colours and boxes."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def console() -> Any:
    """A rich console on standard output."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False)


def printable(value: Any) -> str:
    """One value as text without terminal control characters."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(printable(one) for one in value) or "-"
    return escaped(str(value))


def _json(value: Any) -> str:
    """JSON on one line; characters that the terminal's encoding lacks are escaped."""
    all_known = (sys.stdout.encoding or "utf-8").lower().replace("-", "") == "utf8"
    return in_json(json.dumps(value, ensure_ascii=not all_known, default=str))


HOME_AND_CLEAR = "\x1b[H\x1b[2J"


def repeat(show: Callable[[], None], seconds: float) -> None:
    """Call `show()` every `seconds`; on a terminal each output replaces the previous one."""
    while True:
        if fancy():
            click.echo(HOME_AND_CLEAR, nl=False)  # noqa: TID251 - a control sequence
        show()
        time.sleep(seconds)
