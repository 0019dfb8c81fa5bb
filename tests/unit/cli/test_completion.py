"""What completes a word: candidates of the memory backend, and what a shell gets of them."""

import subprocess
import sys

import click
import pytest

import pytask
from pytask.adapters.memory.backend import MemoryBackend
from pytask.cli import candidates
from pytask.cli.candidates import KINDS, MOST, can_be_typed, matching
from pytask.cli.completion import Bash, backslashed, is_open, script, split_words
from pytask.cli.main import VERBS, main
from pytask.domain.figures import WorkerInfo


@pytest.fixture
def backend():
    return MemoryBackend()


@pytest.fixture
def client(backend):
    with pytask.Client(backend) as made:
        yield made


def test_ids_complete_from_their_beginning(client):
    for name in ("report-1", "report-2", "other"):
        client.start("echo", id=name)
    assert matching("ids", client, "rep") == ["report-1", "report-2"]
    assert set(matching("ids", client, "")) == {"report-1", "report-2", "other"}
    assert matching("ids", client, "x") == []


def test_there_are_never_more_than_a_hundred(client):
    for number in range(MOST + 20):
        client.start("echo", id=f"task-{number}")
    assert len(matching("ids", client, "")) == len(matching("ids", client, "task")) == MOST


def test_functions_and_workers_are_those_that_workers_show(client, backend):
    backend.store().announce(WorkerInfo(session="s1", name="larch", functions=("mail", "sync")))
    assert matching("functions", client, "") == ["mail", "sync"]
    assert matching("functions", client, "s") == ["sync"]
    assert matching("workers", client, "la") == ["larch"]


def test_schedules_and_groups_complete(client):
    client.schedules.add("nightly", "report", every=3600)
    client.limits.set(3, group="account-17")
    client.limits.set(3, function="report")
    assert matching("schedules", client, "n") == ["nightly"]
    assert matching("groups", client, "") == ["account-17"]


def test_states_complete_in_small_letters(client):
    assert matching("states", client, "e") == ["ENDED", "ERROR"]
    assert len(matching("states", client, "")) == 5


@pytest.mark.parametrize("value", ["", "-rf", "a\nb", "a\x1b[2Jb", "a\u202eb", "a\u200bb", "a\x7fb"])
def test_what_no_shell_can_insert_is_left_out(value):
    assert not can_be_typed(value)


def parameters(command, path=()):
    if isinstance(command, click.Group):
        for name in command.list_commands(None):
            yield from parameters(command.get_command(None, name), (*path, name))
    else:
        yield from ((path, param) for param in command.params)


WANTED = {"[ID]...": "ids", "STATE": "states", "FUNCTION": "functions", "[ID]": "ids", "[WORKER]": "workers"}
# `ID` of these is that of a task to be made, and the function of `call` is not read from Redis.
NEW = {("new", "task_id"), ("call", "task_id")}


@pytest.mark.parametrize(
    ("path", "param"),
    list(parameters(main)),
    ids=lambda one: " ".join(one) if isinstance(one, tuple) else one.name,
)
def test_each_parameter_that_names_something_completes(path, param, monkeypatch):
    monkeypatch.setattr(candidates, "candidates", lambda kind, _params, _beginning: [kind])
    wanted = WANTED.get(param.metavar) or {"--worker": "workers", "--group": "groups"}.get(param.opts[0])
    if param.metavar == "ID":
        wanted = "ids"
    if param.metavar == "NAME" and path[0] in ("schedule", "limits"):
        wanted = "schedules" if path[0] == "schedule" else "functions"
    if (path[0], param.name) in NEW:
        wanted = None
    if (*path, param.name) == ("new", "name"):
        wanted = "functions"
    shown = [item.value for item in param.shell_complete(click.Context(main), "")]
    known = [one for one in shown if one in KINDS]
    assert known == ([wanted] if wanted else [])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("pytask show ", ["pytask", "show", ""]),
        ("pytask show re", ["pytask", "show", "re"]),
        (r"pytask show two\ w", ["pytask", "show", "two w"]),
        ("pytask show 'two w", ["pytask", "show", "two w"]),
        (r"pytask show two\ ", ["pytask", "show", "two "]),
        ("pytask --redis redis://h:1/0 s", ["pytask", "--redis", "redis://h:1/0", "s"]),
    ],
)
def test_the_words_of_an_unfinished_line(line, words):
    assert split_words(line) == words


def test_an_open_quotation_is_seen():
    assert is_open("show 'a b")
    assert is_open('show "a')
    assert not is_open("show 'a b'")
    assert not is_open("show a\\")


@pytest.fixture
def bash(monkeypatch):
    """`bash(line, current, *found)`: what bash gets for these candidates."""

    def asked(line, current, *found):
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CURRENT", current)
        monkeypatch.setattr(candidates, "candidates", lambda *_: list(found))
        return Bash(main, {}, "pytask", "_PYTASK_COMPLETE").complete().split("\n")

    return asked


def test_bash_gets_what_replaces_the_end_of_the_word(bash):
    assert bash("pytask show a:b:o", "o", "a:b:one") == ["plain,one"]
    assert bash("pytask show a:b:", "", "a:b:one", "a:b:two") == ["plain,one", "plain,two"]
    assert bash("pytask show a:b", "a:b", "a:b:one") == ["plain,a:b:one"]  # `:` breaks no word there
    assert bash("pytask ls --state=R", "R", "RUNNING") == ["plain,RUNNING"]
    assert bash("pytask ls --state=R", "--state=R", "RUNNING") == ["plain,--state=RUNNING"]


def test_bash_gets_words_that_do_nothing_but_stand_for_themselves(bash):
    hostile = ["$(touch x)", "`id`", "a;b", "two words", "q'uote", "*", "~", "a\\b", "!1", "<f", "#"]
    shown = [row.removeprefix("plain,") for row in bash("pytask show ", "", *hostile)]
    said = subprocess.run(
        ["bash", "-c", "\n".join(f"printf '%s\\0' {word}" for word in shown)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.split("\0")[:-1] == hostile
    assert bash('pytask show "two', "two", *hostile) == [
        f"plain,{word}" for word in hostile if not set(word) & set("'\"\\$`!")
    ]
    assert backslashed("report-1:é") == "report-1:é"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_names_the_program_and_prints_no_errors(shell):
    text = script(main, shell)
    assert "_PYTASK_COMPLETE" in text
    assert "2>/dev/null" in text


def completed(line, tmp_path, shell="bash", **more):
    return subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "pytask"],
        env={"_PYTASK_COMPLETE": f"{shell}_complete", "COMP_WORDS": line, "PYTHONPATH": ":".join(sys.path)}
        | more,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )


def test_options_and_states_complete_without_a_redis_library(tmp_path):
    shown = completed("pytask ls --sta", tmp_path)
    assert (shown.returncode, shown.stdout) == (0, "plain,--state\n")
    for line, found in (("pytask ls --sta", "--state"), ("pytask ls -s RU", "RUNNING")):
        shown = completed(line, tmp_path)
        assert shown.stdout == f"plain,{found}\n"
        loaded = {row.rpartition("|")[2].strip() for row in shown.stderr.splitlines()}
        assert not loaded & {"redis", "gevent", "rich", "msgspec"}


@pytest.mark.parametrize(
    ("line", "more"),
    [
        ("pytask show ", {"PYTASK_REDIS_URL": "redis://127.0.0.1:1"}),
        ("pytask show ", {"PYTASK_REDIS_URL": "nonsense"}),
        ("pytask show ", {"PYTASK_PARTITIONS": "many"}),
        ("pytask show --config nowhere.toml ", {}),
        ("pytask nonsense ", {}),
    ],
)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_what_cannot_be_asked_has_no_candidates_and_says_nothing(line, more, shell, tmp_path):
    shown = completed(line, tmp_path, shell, COMP_CWORD="", **more)
    assert (shown.returncode, shown.stdout) == (0, "")
    noise = [row for row in shown.stderr.splitlines() if not row.startswith("import time:")]
    assert noise == []


def test_the_verbs_complete_with_their_texts(tmp_path):
    shown = completed("pytask ", tmp_path, "fish", COMP_CWORD="")
    assert "plain,why\t" + VERBS["Inspect"]["why"][:20] in shown.stdout
