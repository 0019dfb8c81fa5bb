"""Pause and resume by clients and the command line."""

import asyncio
import json
import re
import threading
import time

import pytest

import pytask.aio
from pytask import Client
from pytask.errors import BadData, NoSuchTask, TaskNotRunning, TimedOut
from tests.integration.test_pause import folder, server, site

__all__ = ["folder", "server", "site"]


@pytest.fixture
def client(site):
    with Client(site.server.url) as made:
        yield made


def test_the_outcome_of_a_pause_and_of_its_end(site, client):
    site.worker()
    site.running("a", "looper")
    found = client.pause("a", wait=20)
    assert (found.done, found.state) == (True, "RUNNING")
    assert client.get("a").paused > 0
    assert not client.get("a").pausing
    again = client.pause("a")
    assert (again.done, again.state) == (True, "RUNNING")
    resumed = client.start_again("a", wait=20)
    assert (resumed.done, resumed.state) == (True, "RUNNING")
    assert client.get("a").paused == 0
    site.raw.hset("b", mapping={"function": "nobody", "data": "{}"})
    site.raw.lpush("new-task", "b")
    until_parked = time.monotonic() + 20
    while not site.raw.exists("pytask:parked:nobody"):
        assert time.monotonic() < until_parked
    waits = client.pause("b", wait=20)
    assert (waits.done, waits.state) == (True, "WAIT")
    assert client.count().paused == 1
    assert client.count()["WAIT"] == 1
    assert client.start_again("b").done


def test_what_cannot_be_paused_is_said(site, client):
    with pytest.raises(NoSuchTask):
        client.pause("nobody")
    (outcome,) = client.pause_many(["nobody"])
    assert (outcome.done, outcome.state) == (False, None)
    site.worker()
    site.running("a", "busy")
    with pytest.raises(
        TimedOut, match=r"did not pause within 0\.3 s: it is RUNNING, and the request remains"
    ):
        client.pause("a", wait=0.3)
    assert client.get("a").pausing
    said = site.cli("why", "a").stdout
    assert "pausing since " in said
    # `status` does not count it as one that stands still.
    assert "1 task; 1 of them has not reached a gate yet: `pytask why ID`" in site.cli("status").stdout
    assert (client.count().paused, client.count().pausing) == (1, 1)
    client.stop("a", wait=20)
    found = client.pause("a")
    assert (found.done, found.state) == (True, "STOPPED")
    assert site.raw.hget("a", "paused") is None
    for bad in ("", "x" * 600, 7):
        with pytest.raises(BadData):
            client.pause_functions([bad])


def test_a_task_that_ends_instead_of_pausing(site, client):
    site.worker()
    site.running("a", "busy")
    stop = threading.Timer(0.5, lambda: site.say("a", "stop"))
    stop.start()
    with pytest.raises(TaskNotRunning, match="finished before it was paused: it is STOPPED"):
        client.pause("a", wait=20)
    assert site.raw.hget("a", "paused") is None


def test_while_it_pauses_why_and_show_say_where_it_is(site, client):
    site.worker()
    site.running("a", "busy")
    client.pause("a")

    def said():
        return site.cli("why", "a").stdout

    deadline = time.monotonic() + 30
    while "tasks.py:" not in said():
        assert time.monotonic() < deadline, said()
    assert "it has not reached a gate (self.gate(), or a round of run_loop): greenlet " in said()
    assert re.search(r"in start at \S*tasks.py:\d+", said())
    shown = site.cli("show", "a").stdout
    assert "RUNNING pausing" in shown
    assert "RUNNING pausing" in site.cli("ls").stdout
    row = json.loads(site.cli("show", "a", "-o", "json").stdout)
    assert row["paused"] > 0


def test_the_asyncio_client_pauses_too(site):
    site.worker()
    site.running("a", "looper")

    async def act():
        async with pytask.aio.Client(site.server.url) as client:
            assert (await client.pause("a", wait=20)).done
            assert (await client.pause_many(["a"]))[0].done
            assert (await client.start_again("a", wait=20)).done
            assert await client.pause_functions(["looper"]) == ["looper"]
            assert (await client.count()).held == ("looper",)
            assert await client.resume_functions(["looper"]) == ["looper"]

    asyncio.run(act())


def test_the_command_line_pauses_tasks_and_functions(site, client):
    site.worker()
    site.running("a", "looper")
    site.running("b", "gates")
    paused = site.cli("pause", "a", "nobody", "--wait", "20")
    assert paused.returncode != 0
    assert "done" in paused.stdout
    assert "no such task" in paused.stdout
    assert "paused since" in site.cli("why", "a").stdout
    assert "RUNNING paused" in site.cli("ls").stdout
    assert site.cli("start", "a", "--wait", "20").returncode == 0
    site.holds("a", paused=False, control=False)
    both = site.cli("pause", "--name", "looper", "--running", "-y", "--wait", "20")
    assert both.returncode == 0, both
    assert "function looper" in both.stdout
    site.paused("a")
    assert not site.raw.hget("b", "paused")
    site.push("c", "looper")
    site.holds("c", state=True)
    assert "paused: looper; resume with `pytask start --paused --name looper`" in site.cli("status").stdout
    assert "1 task" in site.cli("status").stdout
    assert "not reached a gate" not in site.cli("status").stdout
    named = site.cli("doctor").stdout
    assert "PT153" in named
    assert "pytask start --paused --name looper" in named
    assert "the function looper is paused" in site.cli("why", "c").stdout
    back = site.cli("start", "--paused", "--name", "looper")
    assert back.returncode == 0, back
    assert "resumed" in back.stdout
    site.state("c", "RUNNING")
    site.holds("a", paused=False, control=False)


def test_all_may_be_paused_and_resumed(site):
    site.worker()
    site.running("a", "looper")
    assert site.cli("pause", "--all", "--running", "-y", "--wait", "20").returncode == 0
    site.paused("a")
    site.push("b", "gates")
    site.holds("b", state=True)
    assert site.raw.hget("b", "state") == "WAIT"
    assert site.cli("start", "--paused", "--all").returncode == 0
    site.state("b", "RUNNING")
    site.holds("a", paused=False, control=False)


def test_without_a_function_running_makes_no_sense(site):
    said = site.cli("pause", "a", "--running")
    assert said.returncode == 2
    assert "--running needs --name or --all" in said.stderr


@pytest.mark.parametrize("runs", [True, False])
def test_the_printed_commands_do_the_same(site, tmp_path, runs):
    from tests.support.cli_tools import typed

    if runs:
        site.worker()
        site.running("a", "looper")
    else:
        site.push("a", "looper")
    script = site.cli("pause", "a", "--explain").stdout
    typed(script, site.server, tmp_path)
    if runs:
        site.paused("a")
    else:
        assert (site.raw.hget("a", "state"), site.raw.llen("new-task")) == ("WAIT", 0)
        assert site.raw.smembers("pytask:paused") == {"a"}
    typed(site.cli("start", "a", "--explain").stdout, site.server, tmp_path)
    if runs:
        site.holds("a", paused=False, control=False)
    else:
        assert site.raw.lrange("new-task", 0, -1) == ["a"]
    assert not site.raw.exists("pytask:paused")


def test_a_fresh_start_of_a_paused_run_is_refused_as_a_whole(site, client, tmp_path):
    """By each interface: it is not resumed, its data stays, and the message says what to do."""
    from tests.support.cli_tools import typed

    site.worker()
    site.running("a", "looper")
    client.pause("a", wait=20)
    site.raw.hset("a", "saved", "5")
    before = site.raw.hmget("a", "paused", "control", "saved", "data")

    def unchanged():
        return site.raw.hmget("a", "paused", "control", "saved", "data") == before

    async def refused():
        async with pytask.aio.Client(site.server.url) as other:
            return await other.start_again("a", {"x": 1}, fresh=True)

    assert "'a' runs, and is paused" in str(asyncio.run(refused()).refused)
    assert unchanged()
    said = site.cli("start", "a", "--fresh")
    assert said.returncode != 0
    assert "neither resumed nor was what it has saved removed: `pytask start a " in said.stderr.replace(
        "--redis", " --redis"
    ).replace("  ", " ")
    all_of_them = site.cli("start", "--paused", "--all", "--fresh")
    assert "neither resumed" in all_of_them.stdout + all_of_them.stderr
    for words in (["a"], ["--paused", "--all"]):
        typed(site.cli("start", *words, "--fresh", "--explain").stdout, site.server, tmp_path)
    assert unchanged()
    site.push("b", "nobody")
    client.pause("b")
    site.raw.hset("b", "saved", "5")
    site.cli("start", "--paused", "--all", "--fresh")
    assert site.raw.hmget("b", "paused", "saved") == [None, None]


@pytest.mark.parametrize("verb", ["stop", "rm"])
def test_a_paused_task_can_be_stopped_and_removed_as_printed(site, client, tmp_path, verb):
    from tests.support.cli_tools import typed

    site.push("a", "looper")
    client.pause("a")
    typed(site.cli(verb, "a", "--explain").stdout, site.server, tmp_path)
    assert site.raw.hmget("a", "state", "paused") == [{"stop": "STOPPED", "rm": None}[verb], None]
    assert not site.raw.exists("pytask:paused")


def test_doctor_names_a_paused_function_for_which_tasks_wait(site, client):
    one = site.worker()
    client.pause_functions(["looper"])
    site.push("a", "looper")
    site.holds("a", state=True)
    said = site.cli("doctor").stdout
    assert "PT153  the function looper is paused, and 1 task waits for that to end" in said, said
    fix = re.search(r"pytask start --paused --name looper", said)
    assert fix
    assert site.cli(*fix[0].split()[1:]).returncode == 0
    site.state("a", "RUNNING")
    assert "PT153" not in site.cli("doctor").stdout, one.output


def test_doctor_names_a_worker_that_knows_no_pauses(site, client):
    site.push("a", "looper")
    client.pause("a")
    now = site.raw.time()[0]
    site.raw.zadd("pytask:workers", {"old": now})
    info = {"session": "old", "name": "elder", "version": pytask.__version__, "functions": ["looper"]}
    site.raw.hset("pytask:workers:info", "old", json.dumps(info))
    said = site.cli("doctor").stdout
    assert "PT154  something is paused, and elder does not support pausing" in said, said
    site.raw.delete("pytask:workers", "pytask:workers:info")  # as the fix does
    assert "PT154" not in site.cli("doctor").stdout
