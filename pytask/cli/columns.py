"""Columns that fit a terminal: long cells wrap to the next line, without breaking words."""

from __future__ import annotations

import re
from collections.abc import Sequence

GAP = 2  # columns between two
LEAST = 8  # minimum width of a column that should not be wrapped, if there is no room for it
PIECE = re.compile(r"[^\s./:@_-]*[\s./:@_-]?")  # a name may wrap after these characters


def widths(lines: Sequence[Sequence[str]], whole: Sequence[bool], width: int) -> list[int]:
    """The width of each column so that all fit into `width`; the first row holds the titles.

    The widest columns shrink first: those that need no broken word, then the others, and `whole` columns
    last.
    """
    columns = list(zip(*lines, strict=True))
    found = [max(map(len, column)) for column in columns]
    titles = [
        max(len(column[0]), LEAST) if keep else len(column[0])
        for column, keep in zip(columns, whole, strict=True)
    ]
    pieces = [max(len(piece.rstrip()) for cell in column for piece in _pieces(cell)) for column in columns]
    unbroken = [max(both) for both in zip(titles, pieces, strict=True)]
    for least in (
        [broad if keep else one for broad, one, keep in zip(found, unbroken, whole, strict=True)],
        [broad if keep else one for broad, one, keep in zip(found, titles, whole, strict=True)],
        titles,
    ):
        _narrow(found, least, width)
    return found


def _narrow(found: list[int], least: Sequence[int], width: int) -> None:
    while sum(found) + GAP * (len(found) - 1) > width:
        slack = [(broad, at) for at, broad in enumerate(found) if broad > least[at]]
        if not slack:
            return
        found[max(slack)[1]] -= 1


def rows_of(cells: Sequence[str], widths: Sequence[int]) -> list[list[str]]:
    """One row of a table as terminal lines, each cell padded to the width of its column."""
    parts = [_filled(cell, width) for cell, width in zip(cells, widths, strict=True)]
    height = max(map(len, parts))
    lines = [[part[at] if at < len(part) else "" for part in parts] for at in range(height)]
    return [
        [*(cell.ljust(width) for cell, width in zip(line, widths[:-1], strict=False)), line[-1]]
        for line in lines
    ]


def _pieces(cell: str) -> list[str]:
    return [piece for piece in PIECE.findall(cell) if piece] or [""]


def _filled(cell: str, width: int) -> list[str]:
    lines = [""]
    for piece in _pieces(cell) if len(cell) > width else [cell]:
        if len((lines[-1] + piece).rstrip()) > width and lines[-1]:
            lines.append("")
        lines[-1] += piece
        while len(lines[-1].rstrip()) > width:  # nowhere to break it
            lines[-1:] = [lines[-1][:width], lines[-1][width:]]
    return [line.rstrip() for line in lines]
