"""What verbs print, in the forms for people: one form of times, and whole ids."""

import io
import time

import pytest
from rich.console import Console

from pytask.cli.commands.watch import show
from pytask.cli.control import OUTCOMES
from pytask.cli.printer import Printer, drawn_table, table
from pytask.cli.rows import TASKS, WORKERS
from pytask.client import Event


def test_watch_prints_its_times_in_utc(tokyo, capsys, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1700000000.5)
    show(Printer("table"), Event(id="a", name="tick", data=[1]))
    assert capsys.readouterr().out == "2023-11-14 22:13:20Z  a  tick  [1]\n"


ID = "3f2a9c1e-5b7d-4e8f-9a0b-1c2d3e4f5a6b"


def drawn(rows, columns, width):
    """The lines of a table on a terminal of that width."""
    out = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    out.print(drawn_table(rows, columns, width), soft_wrap=True)
    return out.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [200, 80, 60, 44])
def test_where_there_is_no_room_names_go_on_below_and_ids_stay_whole(width):
    row = {"id": ID, "_state": "RUNNING", "function": "a-function-of-some-length", "worker": "larch-" * 6}
    head, line, *more = drawn([row], TASKS[:5], width)
    assert head.split() == ["ID", "STATE", "FUNCTION", "WORKER", "UPDATED"]
    assert line.startswith(ID + " ") == (width > 60)
    assert "RUNNING" in line
    assert len(line) <= max(width, 60)  # at 44 there is no room for the titles alone
    assert bool(more) == (width < 200)
    assert "…" not in line


@pytest.mark.parametrize("width", [30, 12])
@pytest.mark.parametrize("columns", [TASKS[:5], OUTCOMES], ids=["tasks", "outcomes"])
def test_an_id_longer_than_the_terminal_goes_on_below(columns, width):
    lines = drawn([{"id": ID, "state": "RUNNING", "outcome": "done"}], columns, width)
    column = lines[0].index(lines[0].split()[1]) if len(lines[0].split()) > 1 else width
    assert "".join(line[:column].strip() for line in lines[1:]) == ID


def test_the_session_of_a_worker_is_whole_too():
    wide = [column for column in WORKERS if column.field in ("name", "functions", "session")]
    line, *more = drawn([{"name": "w" * 40, "functions": ["f"] * 40, "session": ID}], wide, 60)[1:]
    assert line.endswith(ID)
    assert max(map(len, [line, *more])) <= 60


def test_heads_are_the_same_on_a_terminal_and_piped(capsys):
    table([], TASKS)
    assert drawn([], TASKS, 200)[0].split() == capsys.readouterr().out.split()
