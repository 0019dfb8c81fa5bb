"""docs/libraries.md: its table has the rows that are measured, at the versions that are installed for it."""

import re
from pathlib import Path

import pytest

from benchmarks.libraries import coroutine_table, table
from benchmarks.libraries.__main__ import versions
from benchmarks.libraries.registry import ROWS
from benchmarks.libraries.table import row, title

PAGE = (Path(__file__).parents[2] / "docs" / "libraries.md").read_text()
KINDS = pytest.mark.parametrize("kind", [table, coroutine_table])


def lines_of(kind):
    """The rows of a table of the page, and the cases that it should have."""
    shown = PAGE.partition(kind.BEGIN)[2].partition(kind.END)[0].strip()
    cases = [case for case in ROWS.values() if case.coroutine == (kind is coroutine_table)]
    return shown.removeprefix(kind.HEAD).strip().splitlines(), cases


@KINDS
def test_the_table_has_each_row_at_its_version_and_no_other(kind):
    lines, cases = lines_of(kind)
    shown = [line.split(" | ")[0].removeprefix("| ") for line in lines]
    assert shown == [title(case, versions()).replace(" in `async def`", "") for case in cases]


@KINDS
def test_a_row_says_what_to_do_as_the_benchmark_does(kind):
    lines, cases = lines_of(kind)
    for case, line in zip(cases, lines, strict=True):
        assert line.split(" | ")[1] == case.against
        assert line.rpartition(" | ")[2].removesuffix(" |") == (case.do or "-")


def test_every_library_is_pinned_and_there_are_forty():
    used = {package for case in ROWS.values() for package in case.packages}
    assert used <= versions().keys()
    assert len({case.packages[0] for case in ROWS.values() if case.packages}) >= 40


def test_other_pages_lead_to_it():
    for page in ("threads.md", "patching.md"):
        assert re.search(r"\]\(libraries\.md[#)]", (Path(__file__).parents[2] / "docs" / page).read_text())


SEEN = {
    "once": "ENDED", "gap": 0.01, "right": 20, "span": 0.6, "errors": [], "stop": 0.02, "connections": [3, 2],
    "others": ["ENDED", "ENDED"], "later": ["ENDED", [1, 2, True]],
}  # fmt: skip


KEPT = {"once": "", "kept by": "f", "others": ["kept", "kept"], "later": ["kept", [1, 2, True]]}


@pytest.mark.parametrize(
    ("more", "cells"),
    [
        ({}, ["yes", "yes", "clean"]),
        ({"gap": 0.5, "stop": 2.1},
         ["**no, while it waits**", "yes", "when the call returns"]),
        ({"gap of many": 0.6}, ["yes", "yes", "clean"]),
        ({"span": 10}, ["yes, one after the other", "yes", "clean"]),
        ({"right": 8}, ["**wrong answers**", "yes", "-"]),
        ({"errors": ["RuntimeError: twice"]}, ["one only: twice", "yes", "clean"]),
        (KEPT, ["yes", "**no**, its threads go on", "clean"]),
        ({"stop": 3.3}, ["yes", "yes", "stopped after 3 s"]),
        ({"stop": None}, ["yes", "yes", "**does not stop**"]),
        ({"connections": [3, 3], "statements": 1},
         ["yes", "yes", "its connection stays open; its statement goes on"]),
        ({"others": ["ERROR", "ENDED"], "later": ["", None]},
         ["yes", "yes", "**others fail**; **it does not work any more**"]),
        ({"answers": {"right": 90, "wrong": 10}}, ["yes", "yes", "**wrong answers**"]),
    ],
)  # fmt: skip
def test_a_row_says_what_was_seen(more, cells):
    case = ROWS["http.client, a connection a call"]
    assert row(case, SEEN | more, {}).split(" | ")[2:5] == cells


def test_what_never_came_back_is_said_to_hold_the_loop_for_ever():
    case = ROWS["http.client, a connection a call"]
    assert row(case, {"once": ""}, {}).split(" | ")[2:5] == ["**no, for ever**", "**no**, not in 8 s", "-"]
    assert row(case, {"once": "ERROR", "error": "OSError: no"}, {}).split(" | ")[2] == "fails: no"
