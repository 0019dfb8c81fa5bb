"""The verbs that control many tasks at once."""

import json

import pytest
import redis

from pytask.cli import control
from pytask.cli.printer import Printer
from pytask.cli.selection import Batch, _fresh
from pytask.client import Outcome
from pytask.client.sync_driver import SyncDriver
from pytask.domain.lifecycle import State
from tests.integration.control.conftest import rows
from tests.support.servers import start_server


@pytest.fixture
def sent(monkeypatch):
    """The first words of the commands of each round trip of a client."""
    trips = []
    send = SyncDriver.send

    def counted(shell, commands):
        trips.append([words[0] for _, words in commands])
        return send(shell, commands)

    monkeypatch.setattr(SyncDriver, "send", counted)
    return trips


@pytest.mark.parametrize("form", ["json", "table"])
def test_deleting_thousands_takes_few_round_trips_and_never_holds_them_all(cli, sent, form):
    ids = [f"t{n:05}" for n in range(2000)]
    with start_server("valkey") as server, redis.Redis.from_url(server.url, decode_responses=True) as client:
        with client.pipeline(transaction=False) as pipe:
            for at, task_id in enumerate(ids):
                pipe.hset(task_id, mapping={"function": "f", "state": "ENDED"})
                pipe.zadd("pytask:index:ENDED", {task_id: at})
            pipe.execute()
        client.config_resetstat()
        shown = cli("rm", "--all", "-y", "-o", form, "--redis", server.url)
        assert shown.exit_code == 0, shown.stderr
        assert client.dbsize() == 0
        calls = {name: one["calls"] for name, one in client.info("commandstats").items()}
        # Two scripts for 256 of them, and the first of each with its text.
        assert calls["cmdstat_evalsha"] + calls["cmdstat_eval"] <= 2 * 8 + 4
        assert len(sent) <= 40, sent
        listed = [at for at, words in enumerate(sent) if words[0] == "ZREVRANGEBYSCORE"]
        deleted = [at for at, words in enumerate(sent) if words[0] == "EVALSHA"]
        assert deleted[0] < listed[-1]  # the first are gone before the last are read
        if form == "json":
            found = json.loads(shown.stdout)
            assert (found["kind"], found["version"]) == ("outcomes", 1)
            assert sorted(row["id"] for row in found["items"]) == ids
            assert {row["outcome"] for row in found["items"]} == {"deleted"}
        else:
            assert sum(line.split()[1:] == ["deleted"] for line in shown.stdout.splitlines()) == 2000


def test_a_bulk_is_counted_before_it_is_asked_about(cli, monkeypatch):
    monkeypatch.setattr("pytask.cli.selection.PAGE", 3)
    with start_server("valkey") as server, redis.Redis.from_url(server.url, decode_responses=True) as client:
        for at in range(8):
            client.hset(f"t{at}", mapping={"function": "f", "state": "STOPPED"})
            client.zadd("pytask:index:STOPPED", {f"t{at}": at})
        asked = cli("start", "--all", "--redis", server.url)
        assert (
            asked.exit_code,
            "Start 8 tasks? Standard input is not a terminal: confirm with -y" in asked.stderr,
        ) == (
            2,
            True,
        )
        assert client.llen("new-task") == 0
        assert cli("start", "--all", "-y", "--redis", server.url).exit_code == 0
        assert sorted(client.lrange("new-task", 0, -1)) == [f"t{at}" for at in range(8)]


def test_the_time_to_wait_begins_when_all_were_asked(monkeypatch):
    """A requeue may watch a lease for 90 s first."""
    now, given = [0.0], []

    def act(ids):
        now[0] += 90
        return {task_id: Outcome(id=task_id, done=True, state=State.WAIT) for task_id in ids}

    def finish(task_id, seconds):
        given.append(seconds)
        return Outcome(id=task_id, done=True, state=State.RUNNING)

    monkeypatch.setattr(control.time, "monotonic", lambda: now[0])
    one, two = Batch(["a"], ["a"], {}), Batch(["b"], ["b"], {})
    control.carry_out(Printer("json"), [one, two], control.Verb(act, finish, wait=30))
    assert given == [30, 30]


def test_what_comes_to_rest_in_another_state_meanwhile_is_not_started_twice():
    assert list(_fresh([["a", "b"], ["b"], ["c", "a"]])) == [["a", "b"], ["c"]]


def test_all_of_a_name(cli, client):
    cli("rm", "--name", "sleeper", "-y")  # what other tests left
    ids = [cli("new", "sleeper", f"n={n}").stdout.strip() for n in range(5)]
    other = cli.started("sleeper")
    refused = cli("stop", "--name", "sleeper")
    assert refused.exit_code == 2
    assert "Stop 6 tasks? Standard input is not a terminal: confirm with -y" in refused.stderr
    stopped = cli("stop", "--name", "sleeper", "-y", "--wait", "30", "-o", "json")
    assert stopped.exit_code == 0, stopped.stderr
    assert {*rows(stopped)} == {*ids, other}
    assert {row["state"] for row in rows(stopped).values()} == {"STOPPED"}
    assert cli("stop", "--name", "sleeper", "-o", "json").exit_code == 0  # none is left: nobody is asked
    removed = cli("rm", "--name", "sleeper", "--state", "stopped", "-y", "-o", "json")
    assert {*rows(removed)} == {*ids, other}
    assert not client.exists(*ids)


@pytest.mark.parametrize("words", [["stop"], ["stop", "x", "--all"], ["rm", "--state", "BUSY"]])
def test_which_tasks_must_be_said(cli, words):
    assert cli(*words).exit_code == 2


def test_failed_tasks_go_back_to_the_queue(cli, client):
    made = cli("new", "broken", "--wait", "30")
    assert made.exit_code == 1  # it ended in ERROR
    assert "as asked" in made.stdout
    (task_id,) = cli("ls", "-s", "error", "-o", "id").stdout.split()
    assert cli("requeue", "--all", "-y").stdout.splitlines()[1].split() == [task_id, "done", "WAIT"]
    assert cli("wait", task_id).exit_code == 1
    assert client.hget(task_id, "attempts") == "2"
    assert cli("wait", task_id, "--for", "error").exit_code == 0
    assert cli("rm", task_id).exit_code == 0
