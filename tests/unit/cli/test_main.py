"""The table of verbs, their help, and the border where errors become exit codes."""

import inspect
import pkgutil
import re
from importlib import import_module
from pathlib import Path

import click
import pytest

from pytask.cli import commands
from pytask.cli.main import EXIT_CODES, VERBS, exit_code, main
from pytask.domain import errors
from pytask.runtime.runs.stopping import EXIT_STUCK

ROOT = Path(__file__).resolve().parents[3]
NAMES = main.list_commands(None)
CLASSES = [
    cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, errors.PytaskError)
]


def made(cls):
    return {errors.IllegalMove: lambda: cls("a", "b")}.get(cls, lambda: cls("text"))()


def test_the_table_has_every_verb_and_no_other():
    assert sorted(NAMES) == sorted(m.name for m in pkgutil.iter_modules(commands.__path__))


@pytest.mark.parametrize("name", NAMES)
def test_the_words_of_the_table_are_those_of_the_verb(name):
    section = next(section for section in VERBS.values() if name in section)
    command = import_module(f"pytask.cli.commands.{name}").command
    first = inspect.cleandoc(command.callback.__doc__).split("\n\n")[0]
    assert " ".join(first.split()) == section[name]


@pytest.mark.parametrize("name", NAMES)
def test_every_verb_has_help_and_takes_only_documented_options(cli, name):
    shown = cli(name, "--help")
    assert shown.exit_code == 0
    command = main.get_command(None, name)
    for param in command.params:
        if isinstance(param, click.Option) and not param.hidden:
            assert param.help, param.name


READING = [*VERBS["Inspect"], "wait", "doctor", "health", "config"]


@pytest.mark.parametrize("name", READING)
def test_every_verb_that_reads_takes_the_same_forms(name):
    (form,) = [param for param in main.get_command(None, name).params if "-o" in param.opts]
    assert list(form.type.choices) == ["table", "wide", "json", "jsonl", "id"]


def test_a_verb_that_does_not_exist_is_a_usage_error_with_a_suggestion(cli):
    shown = cli("shwo")
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert "Did you mean 'show'?" in shown.stderr


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_has_an_exit_code_of_its_own_kind(cls, cli, monkeypatch):
    error = made(cls)
    error.add_note("  a note")

    def fail(**_):
        raise error

    monkeypatch.setattr(import_module("pytask.cli.commands.completion").command, "callback", fail)
    shown = cli("completion", "bash")
    assert shown.exit_code == exit_code(error) != 0
    assert (shown.stdout, shown.stderr) == ("", f"pytask: {error}\n  a note\n")


CODES = [0, 1, 2, 3, 4, 69, 70, 78, 124, 130]


def test_the_exit_codes_are_the_documented_ones():
    assert {code for _, code in EXIT_CODES} | {0, 130} == set(CODES) - {EXIT_STUCK}
    for code in CODES:
        assert f" {code} " in " " + " ".join(main.help.split())
    rows = re.findall(r"^\| (\d+) \| \S", (ROOT / "docs" / "cli.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(map(int, rows)) == CODES


def test_an_interrupt_is_clean(cli, monkeypatch):
    def interrupted(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr(import_module("pytask.cli.commands.completion").command, "callback", interrupted)
    shown = cli("completion", "bash")
    assert (shown.exit_code, shown.stdout, shown.stderr) == (130, "", "")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_names_the_program(cli, shell):
    shown = cli("completion", shell)
    assert shown.exit_code == 0
    assert "_PYTASK_COMPLETE" in shown.stdout
