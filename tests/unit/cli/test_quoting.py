"""Whatever others wrote is printed so that it steers no terminal, and so that it cannot look like ours."""

import json
import os
import shlex
import subprocess
import sys
from io import StringIO

import pytest

from pytask.cli.commands.show import lines
from pytask.cli.printer import Column, Printer, pairs
from pytask.client.task_records import TaskInfo
from pytask.domain.errors import AmbiguousId, Refused
from pytask.domain.escaping import STEERING, escaped
from pytask.domain.lifecycle import State
from pytask.terminal import command, out, quoted, say, wrapped

HOSTILE = "a\x1b]0;x\x07\r\nb\u202ec\u200b\u2066\ufeff\U000e0041\x9b"


def test_a_message_has_one_line_at_the_margin_and_steers_nothing(capsys):
    say(f"several ids begin so, such as {HOSTILE}\npytask: forged")
    shown = capsys.readouterr().err
    assert not STEERING.search(shown.replace("\n", ""))
    assert [line[:7] for line in shown.splitlines()] == ["pytask:", "  b\\u20", "  pytas"]


@pytest.mark.parametrize("error", [AmbiguousId(HOSTILE), Refused(f"ERR {HOSTILE}")], ids=["ids", "server"])
def test_an_error_of_a_verb_leaves_by_the_printer(cli, monkeypatch, error):
    from pytask.cli.connection import Remote

    def fail(*_):
        error.add_note(HOSTILE)
        raise error

    monkeypatch.setattr(Remote, "client", property(fail))
    shown = cli("show", "x")
    assert shown.stderr.startswith("pytask: [PT0")
    assert not STEERING.search(shown.stderr.replace("\n", ""))
    assert all(line.startswith("  ") for line in shown.stderr.splitlines()[1:])


def test_field_names_and_a_line_break_in_a_function_stay_on_their_line(capsys):
    task = TaskInfo(
        id="t",
        state=State.ERROR,
        function=f"f{HOSTILE}",
        error=f"E: {HOSTILE}\n  in line 2",
        more={HOSTILE: HOSTILE},
    )
    pairs(lines(task, None))
    shown = capsys.readouterr().out
    assert not STEERING.search(shown.replace("\n", ""))
    assert "function" in shown.partition("\\x1b")[0]
    labels = [line.split()[0] for line in shown.splitlines() if line[0] != " "]
    assert labels == ["id", "state", "function", "runs", "error", escaped(HOSTILE)]
    assert shown.count("\\x0a") == 3 + 1 - 1  # of the function, the name and the value of the field


@pytest.mark.parametrize("form", ["table", "json", "jsonl", "id"])
def test_no_form_of_a_list_steers(capsys, form):
    Printer(form).rows("tasks", [{"id": HOSTILE}], [Column("id", HOSTILE)])
    shown = capsys.readouterr().out
    assert not STEERING.search(shown.replace("\n", ""))
    if form == "jsonl":
        assert json.loads(shown)["id"] == HOSTILE


def test_a_click_error_is_escaped_too(cli):
    shown = cli("wait", "t", "--for", f"\u202e{'x' * 3}")
    assert shown.exit_code == 2
    assert not STEERING.search(shown.stderr.replace("\n", ""))


class Terminal(StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_words_are_whole_and_lines_hang(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = "PT092  " + "several words " * 10 + "\n       Fix: " + "x" * 90 + " redis-cli " + "word " * 20
    shown = wrapped(text, Terminal()).split("\n")
    assert [word for line in shown for word in line.split()] == text.split()
    assert all(len(line) <= 80 for line in shown if "x" * 90 not in line)
    assert shown[1].startswith("  several") or shown[1].startswith("  words")
    assert shown[-1].startswith(" " * 9)
    assert wrapped(text, StringIO()) == text


@pytest.mark.parametrize("word", ["a b", "it's", "$(reboot)", "-n", "\x1b[2J%\\'é\u202e", "two\nlines"])
def test_a_printed_command_is_the_same_word_for_a_shell(word):
    shown = command(["printf", "%s", word])
    assert not STEERING.search(shown)
    done = subprocess.run(["sh", "-c", shown], capture_output=True, check=True)
    assert done.stdout == word.encode()
    assert quoted("plain") == "plain"


def test_a_terminal_of_another_alphabet_is_no_traceback():
    """A Latin-1 terminal, after the verb acted."""
    script = """
from pytask.cli.main import main
from pytask.cli.printer import Printer
import pytask.cli.commands.completion as verb
def show(**_):
    Printer("jsonl").rows("tasks", [{"id": "漢 😀 é"}], ())
    Printer("id").rows("tasks", [{"id": "漢 é"}], ())
verb.command.callback = show
main(["completion", "bash"])
"""
    env = os.environ | {"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, env=env, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    first, second = done.stdout.decode("latin-1").splitlines()
    assert json.loads(first)["id"] == "漢 😀 é"
    assert second == "\\u6f22 é"


def test_text_for_people_may_be_any_text(capsys):
    out(f"{HOSTILE}\n\tindented")
    shown = capsys.readouterr().out
    assert "\n\tindented\n" in shown
    assert not STEERING.search(shown.replace("\n", "").replace("\t", ""))
    assert shlex.quote("a b") == quoted("a b")


@pytest.mark.parametrize("words", [["ls"], ["ls", "--explain"], ["config"], ["doctor"]], ids=" ".join)
@pytest.mark.parametrize("url", ["redis://h:sesame", "redis://[h", "me:sesame@h", "http://u:sesame@h"])
def test_an_address_that_is_none_is_no_traceback_and_shows_no_password(cli, words, url):
    shown = cli(*words, "--redis", url)
    assert shown.exit_code in (0, 78), shown.exception
    assert "sesame" not in shown.output
    assert "Traceback" not in shown.output
