"""docs/tour.md, command by command, with the outputs that it shows."""

import re

import pytest

from tests.support.cli_tools import ROOT, Started, pytask, until
from tests.support.typed_pages import Shell, blocks, commands, fits

TOUR = (ROOT / "docs" / "tour.md").read_text("utf-8")
pytestmark = pytest.mark.slow
BLOCKS = blocks(TOUR)


ELASTIC = (
    r"…Z", r"…s ago", r"^redis-cli -h 127.0.0.1 -p … -n 0 ", r"by …(,|$)",  # times, and who asked
    r"redis://127\.0\.0\.1:…", r"^last run  …$",  # ports and ids
    r"^… +first  yes", r"first   …$",  # a process id, how many tasks run, how long ago
    r"^server   …, answers in … ms$",
    r"it starts in …, at …Z$", r"^  … 03:00:00 CET  \(in …\)$",  # a delay, and the times of a schedule
)  # fmt: skip


@pytest.mark.parametrize("block", [body for kind, name, body in BLOCKS if kind == "console"])
def test_what_is_left_open_is_a_time_an_id_or_who_it_was(block):
    for _, shown in commands(block):
        for line in filter(lambda line: "…" in line, shown.split("\n")):
            assert any(re.search(pattern, line) for pattern in ELASTIC), line
            words = line.replace("…", "").split()
            assert len(words) >= 2 or line == "last run  …", line


def test_what_is_shown_is_held_against_what_is_said():
    assert fits("a  b", "a b\n")
    assert fits("at …Z: x", "at 12:00Z: x")
    for said in ("a", "a b\nc", "a c", "c\na b"):
        assert not fits("a b", said)
    assert not fits("at …Z: x", "at Z: x")
    assert not fits("…Z: x", "1\n2Z: x")


@pytest.fixture
def shell(tmp_path):
    return Shell(tmp_path)


def test_the_tour_runs_command_by_command(shell, tmp_path):
    worker, code, count = None, 0, 0
    try:
        for kind, name, body in BLOCKS:
            if kind == "python":
                (tmp_path / name).write_text(body)
            elif name == "background":
                ((command, _),) = commands(body)
                words = command.removeprefix("pytask ").split()
                worker = Started(pytask(*words), tmp_path, tmp_path, XDG_RUNTIME_DIR=str(tmp_path))
                worker.says("takes tasks from")
                until(lambda: shell("pytask health --ready")[0] == 0, "the worker is ready")
            else:
                for command, shown in commands(body):
                    count += 1
                    if command == "echo $?":
                        assert shown == str(code)
                        continue
                    if command.startswith(("pytask functions", "pytask why", "pytask status")):
                        # A worker shows itself, and parks what it does not know, a moment later.
                        until(lambda c=command, s=shown: fits(s, shell(c)[1]), lambda c=command: shell(c))
                    code, said = shell(command)
                    assert fits(shown, said), f"$ {command}\n{said}\n--- and the tour shows:\n{shown}"
                    assert code == (4 if "nothing" in command else "plaice" in command), (command, said)
        assert count >= 20
        assert worker.end() == 0
    finally:
        if worker is not None:
            worker.__exit__()
