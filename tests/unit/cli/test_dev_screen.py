"""What `pytask dev` draws: text of tasks cannot control the terminal."""

import io

from rich.console import Console

from pytask.cli.dev_screen import picture, screen
from pytask.client import TaskInfo
from pytask.dev.tasks import Shown
from pytask.domain.lifecycle import RUNNING


def drawn(shown, width=60):
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(picture(shown, width))
    return console.file.getvalue()


def test_counts_and_tasks_are_drawn_and_escaped():
    task = TaskInfo(id="evil\x1b[2J", state=RUNNING, function="tick")
    text = drawn(Shown({"RUNNING": 1, "WAIT": 0}, [task]))
    assert "RUNNING 1" in text
    assert "WAIT" not in text
    assert "tick" in text
    assert "\x1b" not in text


def test_what_cannot_be_read_is_said():
    assert "Redis does not answer" in drawn(Shown(error="Redis does not answer"))
    assert "no tasks yet" in drawn(Shown())


def test_a_pipe_gets_lines_only(capsys):
    made = screen()
    assert not made.live
    made.draw(Shown())
    made.line("of a worker\x1b[2J")
    made.message("of the loop")
    made.close()
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == "dev: of the loop"
    assert "\x1b" not in said
