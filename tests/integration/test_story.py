"""What became of a task whose worker was killed, as `why`, `show`, `workers`, `top` and `doctor` tell it."""

import json
import re
import signal
import socket
import time
from datetime import UTC, datetime

import pytest

from pytask.domain.version import __version__
from tests.integration.conftest import TAKEOVER
from tests.support.cli_tools import PATIENCE, Started, pytask, until, write

pytestmark = pytest.mark.slow
APPENDONLY = True
SILENT = 15.0  # seconds after which a worker that does not show itself counts as silent

QUICKER = ("--time-scale", "0.1")

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
    """`start(name, function, *more)`: a worker which has shown itself."""
    daemons = []

    def started(name, function, *more):
        write(tmp_path / f"{name}.py", TASK.format(name=function))
        command = pytask("run", f"{name}.py", "--redis", store.url, "--name", name, *more)
        daemon = Started(command, tmp_path, tmp_path)
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
    larch = start("larch", "watch-ulr", "--no-monitor", *QUICKER)
    client.hset("w-1", mapping={"function": "watch-ulr", "data": "{}"})
    client.lpush("new-task", "w-1")
    until(lambda: client.hget("w-1", "state") == "RUNNING", lambda: larch.output)
    yew = start("yew", "watch-url", *QUICKER)
    taken = int(client.hget("w-1", "epoch")) / 1000
    until(lambda: float(client.hget("w-1", "last_update")) > taken + 1, "it is renewed: it runs since before")
    runs = (
        f"RUNNING since {clock(taken)}: claimed by larch; its worker on"
        f" {socket.gethostname()} (pid {larch.process.pid}) renewed its lease "
    )
    said = cli("why", "w-1").stdout.splitlines()[0]
    assert re.fullmatch(re.escape(runs) + r"\ds ago", said), said
    larch.end(signal.SIGKILL)
    until(lambda: client.llen("pytask:parked:watch-ulr") == 1, lambda: yew.output, TAKEOVER + PATIENCE)

    # Until its entry is old enough larch counts as one that knows the name.
    def alone():
        return [w["name"] for w in cli.json("workers")["items"] if w["alive"]] == ["yew"]

    until(alone, lambda: cli("workers").stdout, SILENT + PATIENCE)
    account = cli.json("why", "w-1")
    expired, parked = account["moves"]
    silent = re.fullmatch(r"lease of larch silent for (\d+) s", expired["why"])[1]
    assert 8 <= int(silent) <= TAKEOVER + PATIENCE
    story = (
        f"WAIT since {clock(expired['at'])}: requeued by yew because the lease of larch was not renewed for"
        f" {silent} s; no live worker knows `watch-ulr` (did you mean watch-url?), so it is parked"
    )
    lines = [
        story,
        "start a worker that has a class with NAME = 'watch-ulr', or delete the task: pytask rm w-1",
        (
            "1 worker died while running it: retries become less frequent, and after a few more crashes it is"
            " marked as poison"
        ),
        f"{clock(expired['at'])} requeued by yew: the lease of larch was not renewed for {silent} s",
        f"{clock(parked['at'])} parked by yew: it knows no task named `watch-ulr` (did you mean watch-url?)",
    ]
    assert cli("why", "w-1").stdout.splitlines() == lines
    assert (account["version"], account["kind"], account["id"], account["state"]) == (
        1,
        "reasons",
        "w-1",
        "WAIT",
    )
    assert (account["story"], account["since"], account["reasons"]) == (story, expired["at"], lines)
    assert [move["text"] for move in account["moves"]] == lines[3:]

    text = cli("show", "w-1").stdout
    assert re.search(r"^why +(.*)$", text, re.MULTILINE)[1] == story
    assert re.search(r"^history +(.*)\n +(.*)$", text, re.MULTILINE).groups() == (*lines[3:],)
    at = float(client.hget("w-1", "crash_at"))
    assert re.search(r"^crash_at +(.*)$", text, re.MULTILINE)[1].startswith(f"{clock(at)} (")
    shown = cli.json("show", "w-1")
    assert (shown["version"], shown["story"], shown["since"]) == (1, story, expired["at"])
    assert float(shown["more"]["crash_at"]) == at  # numbers for programs
    assert [move["trigger"] for move in shown["history"]] == ["expire", "park"]


def test_a_killed_worker_is_marked_and_the_doctor_says_what_becomes_of_its_runs(client, cli, start):
    """At the real times: 15 s after its death it counts as silent, and keeps its runs until 90 s are over."""
    larch = start("larch", "watch-url", "--no-monitor", "--max-tasks", "3")
    for task_id in ("w-1", "w-2"):
        client.hset(task_id, mapping={"function": "watch-url", "data": "{}"})
        client.lpush("new-task", task_id)
    until(lambda: client.hlen("pytask:runs") == 2, lambda: larch.output)
    yew = start("yew", "watch-url", "--max-tasks", "1")
    until(lambda: client.zcard("pytask:monitors") == 1, lambda: yew.output)
    assert {worker["alive"] for worker in cli.json("workers")["items"]} == {True}
    assert "silent" not in cli("workers").stdout + cli("top").stdout + cli("status").stdout
    healthy = cli("doctor")
    assert (healthy.exit_code, healthy.stdout.partition(":")[0]) == (0, "no problems found"), healthy.stdout
    larch.end(signal.SIGKILL)

    def silent():
        return {w["name"]: w["alive"] for w in cli.json("workers")["items"]} == {"larch": False, "yew": True}

    until(silent, lambda: cli("workers").stdout, SILENT + PATIENCE)
    for verb in ("workers", "top"):
        rows = {line.split()[0]: line for line in cli(verb).stdout.splitlines() if line}
        assert re.search(r" silent for \d+s ", rows["larch"]), rows
        assert "silent" not in rows["yew"]
    assert "1 worker and 1 silent, 1 slot, " in cli("top").stdout
    status = cli.json("status")
    assert (status["workers"], status["silent"], status["places"]) == (1, 1, 1)
    assert re.search(r"^workers +1 with 1 slot, 1 silent$", cli("status").stdout, re.MULTILINE)

    # It may have renewed its leases a little later than it showed itself last.
    until(lambda: "owns 2 runs" in cli("doctor").stdout, lambda: cli("doctor").stdout)
    found = cli("doctor", "-o", "json")
    (item,) = json.loads(found.stdout)["items"]
    assert (found.exit_code, item["code"], item["serious"]) == (0, "PT097", False)
    what = r"worker larch has been silent for \d+s and owns 2 runs: its tasks are requeued after 90 s"
    assert re.fullmatch(what, item["what"])
    assert str(larch.process.pid) in item["fix"]
    text = cli("doctor").stdout
    assert re.match(f"PT097  {what}\n       Fix: ", text)
    assert "no problems found" not in text


def test_a_worker_shows_all_that_there_is_to_know_and_is_gone_when_it_leaves(client, cli, start):
    before = time.time()
    quicker = ("--time-scale", "0.5")  # not by more: it has 12 s to leave
    larch = start("larch", "watch-url", "--max-tasks", "7", *quicker)
    client.hset("w-1", mapping={"function": "watch-url", "data": "{}"})
    client.lpush("new-task", "w-1")

    def shown():
        (item,) = cli.json("workers")["items"]
        # Its own monitor runs there, too; a lag and a round trip are known after its first nap.
        return item if item["running"] == 2 and item["monitor"] and item["lag"] is not None else None

    item = until(shown, lambda: cli("workers", "-o", "json").stdout)
    assert (item["name"], item["host"], item["pid"]) == ("larch", socket.gethostname(), larch.process.pid)
    assert item["version"] == __version__
    assert before - 1 <= item["started"] <= time.time()
    assert item["functions"] == ["pytask/monitor", "watch-url"]
    assert (item["running"], item["max_tasks"], item["monitor"], item["alive"]) == (2, 7, True, True)
    assert 0 <= item["lag"] < PATIENCE
    assert 0 < item["round_trip"] < PATIENCE
    assert item["silent"] <= SILENT
    assert client.hget("pytask:runs", "w-1").startswith(item["session"] + ":")

    heads, row = cli("workers", "-o", "wide").stdout.splitlines()
    assert heads.split() == [
        "NAME", "HOST", "PID", "VERSION", "TASKS", "SEEN", "UP", "LAG", "REDIS", "CPU", "MONITOR",
        "FUNCTIONS", "SESSION",
    ]  # fmt: skip
    name, host, pid, version, tasks, seen, up, lag, trip, cpu, monitor, *_ = row.split()
    assert (name, host, pid, version) == ("larch", item["host"], str(item["pid"]), __version__)
    assert (tasks, monitor) == ("2/7", "yes")
    assert re.fullmatch(r"\d+%|-", cpu)
    assert all(re.fullmatch(r"\d+s", span) for span in (seen, up))
    assert all(re.fullmatch(r"\d+\.\dms", span) for span in (lag, trip))
    assert row.split()[-3:] == ["pytask/monitor,", "watch-url", item["session"]]

    other = start("yew", "watch-url", "--no-monitor", *quicker)
    items = {one["name"]: one for one in cli.json("workers")["items"]}
    assert (items["yew"]["monitor"], items["larch"]["monitor"]) == (False, True)
    assert other.end() == 0
    assert [one["name"] for one in cli.json("workers")["items"]] == ["larch"]
    assert larch.end() == 0
    assert cli.json("workers")["items"] == []
    assert client.hlen("pytask:workers:info") == client.zcard("pytask:workers") == 0
