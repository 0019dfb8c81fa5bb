"""What became of a task whose worker was killed, as `why`, `show`, `workers`, `top` and `doctor` tell it."""

import json
import re
import signal
import socket
from datetime import UTC, datetime

import pytest

from tests.integration.cli_tools import PATIENCE, Started, pytask, until, write
from tests.integration.conftest import TAKEOVER

pytestmark = pytest.mark.slow
SILENT = 15.0  # seconds after which a worker that does not show itself counts as silent

TASK = """
    import gevent
    from pytask import Task

    class Watch(Task):
        class Config:
            NAME = "{name}"
        def start(self):
            gevent.sleep(1000)
"""


@pytest.fixture
def start(store, client, tmp_path):
    """`start(name, function, *more)`: a worker at a tenth of the times, which has shown itself."""
    daemons = []

    def started(name, function, *more):
        write(tmp_path / f"{name}.py", TASK.format(name=function))
        command = pytask("run", f"{name}.py", "--redis", store.url, "--name", name, *more)
        daemon = Started([*command, "--time-scale", "0.1"], tmp_path, tmp_path)
        daemons.append(daemon)
        shown = lambda: [json.loads(text)["name"] for text in client.hvals("pytask:workers:info")]  # noqa: E731
        until(lambda: name in shown(), lambda: daemon.output)
        return daemon

    yield started
    for daemon in daemons:
        daemon.__exit__()


def clock(at):
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def test_killed_requeued_by_another_and_parked_since_nobody_knows_the_name(client, cli, start):
    """The story of the issue, by real processes: the name was misspelt in the worker that died, too."""
    larch = start("larch", "watch-ulr", "--no-monitor")
    client.hset("w-1", mapping={"function": "watch-ulr", "data": "{}"})
    client.lpush("new-task", "w-1")
    until(lambda: client.hget("w-1", "state") == "RUNNING", lambda: larch.output)
    yew = start("yew", "watch-url")
    runs = (
        f"RUNNING since {clock(float(client.hget('w-1', 'last_update')))}: taken by larch; its worker on"
        f" {socket.gethostname()} (pid {larch.process.pid}) renewed its lease "
    )
    assert re.fullmatch(re.escape(runs) + r"\ds ago", cli("why", "w-1").stdout.splitlines()[0])
    larch.end(signal.SIGKILL)
    until(lambda: client.llen("pytask:parked:watch-ulr") == 1, lambda: yew.output, TAKEOVER + PATIENCE)

    # Until its entry is old enough larch counts as one that knows the name.
    def alone():
        return [w["name"] for w in cli.json("workers")["items"] if w["alive"]] == ["yew"]

    until(alone, lambda: cli("workers").stdout, SILENT + PATIENCE)
    told = cli.json("why", "w-1")
    expired, parked = told["moves"]
    silent = re.fullmatch(r"lease of larch silent for (\d+) s", expired["why"])[1]
    assert 8 <= int(silent) <= TAKEOVER + PATIENCE
    story = (
        f"WAIT since {clock(expired['at'])}: requeued by yew as the lease of larch was silent for {silent} s;"
        " no live worker knows `watch-ulr` (did you mean watch-url?), so it is parked"
    )
    lines = [
        story,
        "1 worker died under it: after a few it counts as poison, and is tried more and more rarely",
        f"{clock(expired['at'])} requeued by yew: the lease of larch was silent for {silent} s",
        f"{clock(parked['at'])} parked by yew: it knows no task named `watch-ulr` (did you mean watch-url?)",
    ]
    assert cli("why", "w-1").stdout.splitlines() == lines
    assert (told["version"], told["kind"], told["id"], told["state"]) == (1, "reasons", "w-1", "WAIT")
    assert (told["story"], told["since"], told["reasons"]) == (story, expired["at"], lines)
    assert [move["told"] for move in told["moves"]] == lines[2:]

    text = cli("show", "w-1").stdout
    assert re.search(r"^why +(.*)$", text, re.MULTILINE)[1] == story
    assert re.search(r"^history +(.*)\n +(.*)$", text, re.MULTILINE).groups() == (*lines[2:],)
    at = float(client.hget("w-1", "crash_at"))
    assert re.search(r"^crash_at +(.*)$", text, re.MULTILINE)[1].startswith(f"{clock(at)} (")
    shown = cli.json("show", "w-1")
    assert (shown["version"], shown["story"], shown["since"]) == (1, story, expired["at"])
    assert float(shown["more"]["crash_at"]) == at  # numbers for programs
    assert [move["trigger"] for move in shown["history"]] == ["expire", "park"]
