"""What `--explain` prints, typed into a real redis-cli."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from pytask.client import Client
from pytask.domain.lifecycle import State
from tests.integration.control.conftest import TASKS
from tests.support.cli_tools import Started, pytask, redis_cli, typed, until, write
from tests.support.servers import start_server

REDIS_CLI = pytest.mark.skipif(not redis_cli(), reason="no redis-cli among the packages here")


@pytest.fixture
def type_all(cli, store, tmp_path):
    """Types what a verb prints with `--explain`, and nothing else; what the shell printed."""

    def type_all(*words, at=store):
        shown = cli(*words, "--explain", "--redis", at.url)
        assert (shown.exit_code, shown.stderr) == (0, "")
        assert "<" not in shown.stdout  # nothing is left for the reader to fill in
        return typed(shown.stdout, at, tmp_path)

    return type_all


@REDIS_CLI
def test_a_real_redis_cli_does_what_explain_prints(cli, client, type_all):
    """A task is started, stopped, started again and deleted by nothing but the lines that are printed."""

    def is_(state, task_id="typed"):
        until(lambda: client.hget(task_id, "state") == state, state)

    type_all("new", "sleeper", "text=it's", "--id", "typed")
    is_("RUNNING")
    type_all("new", "echo", "--id", "typed")  # the id is taken: nothing is written
    assert client.hget("typed", "function") == "sleeper"
    run = client.hget("typed", "run")
    type_all("reload", "typed", "--data", '{"n": 3}')
    until(lambda: client.hget("typed", "run") not in (None, run), "a new run")
    assert client.hget("typed", "data") == '{"n":3}'
    second = client.hget("typed", "run")
    type_all("rm", "typed")  # it runs
    assert client.exists("typed")
    type_all("stop", "typed", "--wait", "20")
    assert client.hget("typed", "state") == "STOPPED"
    type_all("reload", "typed")  # it does not run: nothing to do
    assert client.hget("typed", "control") is None
    assert {"sleeper", "STOPPED", second} <= {*type_all("wait", "typed", "--for", "stopped").splitlines()}
    type_all("start", "typed", "--wait", "20")
    assert client.hget("typed", "state") == "RUNNING"
    type_all("stop", "typed")
    is_("STOPPED")
    type_all("requeue", "typed")
    is_("RUNNING")
    type_all("stop", "typed")
    is_("STOPPED")
    type_all("rm", "typed")
    assert not client.exists("typed")
    assert client.zscore("pytask:index:STOPPED", "typed") is None


@REDIS_CLI
def test_a_new_task_without_an_id_can_be_typed_as_it_is_printed(client, type_all):
    fields = type_all("new", "echo", "n=5", "--wait", "20").splitlines()[2:]
    ended = dict(zip(fields[::2], fields[1::2], strict=True))
    assert (ended["function"], ended["state"], ended["output"]) == ("echo", "ENDED", '{"n":5}')


@REDIS_CLI
def test_waiting_and_watching_end_in_time_where_they_are_typed(cli, client, type_all, store, tmp_path):
    made = cli.started("sleeper", "n=1")
    began = time.monotonic()
    assert (
        "RUNNING" in type_all("wait", made, "--timeout", "1").splitlines()
    )  # not ended: what is there is shown
    assert time.monotonic() - began >= 1
    script = cli("watch", made, "--for", "15", "--explain").stdout
    everything = cli("watch", "--for", "15", "--explain").stdout
    with ThreadPoolExecutor(2) as pool:
        outputs = [pool.submit(typed, text, store, tmp_path) for text in (script, everything)]
        until(lambda: client.pubsub_numsub(f"task-{made}")[0][1], "it listens")
        until(lambda: client.pubsub_numpat() >= 2, "and to all")
        assert cli("stop", made, "--wait", "30").exit_code == 0
        for one in outputs:
            assert '{"event":"stopped","data":null}' in one.result().splitlines()
    assert time.monotonic() - began >= 16


@REDIS_CLI
def test_what_is_typed_where_no_worker_listens_is_kept(cli, type_all, tmp_path):
    """A message alone would be lost: a worker that starts later finds the stored request."""
    write(tmp_path / "tasks.py", TASKS)
    with start_server("valkey") as server, redis.Redis.from_url(server.url, decode_responses=True) as client:
        for task_id in ("queued", "parked", "again"):
            client.hset(task_id, mapping={"function": "sleeper", "data": "{}"})
        client.lpush("new-task", "queued")
        client.hset("parked", "state", "WAIT")
        client.lpush("pytask:parked:sleeper", "parked")
        client.sadd("pytask:parked", "sleeper")
        client.hset("again", mapping={"state": "ERROR", "crashes": 3})
        client.zadd("pytask:index:ERROR", {"again": 1})
        run = pytask("run", "tasks.py", "--redis", server.url)
        words = [*run, "--no-monitor", "--name"]
        client.hset("runs", mapping={"function": "sleeper"})
        client.lpush("new-task", "runs")
        for task_id in ("queued", "parked"):
            type_all("stop", task_id, at=server)
            assert client.hget(task_id, "state") == "STOPPED"
            assert client.zscore("pytask:index:STOPPED", task_id)
        assert client.lrange("new-task", 0, -1) == ["runs"]
        assert client.llen("pytask:parked:sleeper") == 0
        type_all("requeue", "again", at=server)
        assert client.lrange("new-task", 0, -1) == ["again", "runs"]
        assert client.hget("again", "crashes") is None
        with Started([*words, "deaf"], tmp_path, tmp_path) as worker:
            until(lambda: client.hget("runs", "run") and client.hget("again", "run"), lambda: worker.output)
            worker.process.send_signal(signal.SIGSTOP)  # it lives, and hears no message
            client.client_kill_filter(_type="pubsub")
            try:
                type_all("stop", "runs", at=server)
                type_all("reload", "again", at=server)
                assert (client.hget("runs", "control"), client.hget("again", "control")) == ("stop", "reload")
                type_all("reload", "runs", at=server)
                assert client.hget("runs", "control") == "stop"  # never replaced
                before = client.hget("again", "run")
            finally:
                worker.process.send_signal(signal.SIGCONT)
            until(lambda: client.hget("runs", "state") == "STOPPED", lambda: worker.output)
            until(lambda: client.hget("again", "run") not in (None, before), lambda: worker.output)


@REDIS_CLI
def test_a_bulk_is_typed_as_a_loop_over_what_was_meant(cli, client, type_all, tmp_path):
    cli("rm", "--name", "sleeper", "-y")
    cli("rm", "--all", "-y")
    mine = [cli.started("sleeper", f"n={n}") for n in range(3)]
    other = cli.started("deaf", f"until={tmp_path / 'never'}")
    runs = {client.hget(i, "run") for i in mine}
    type_all("reload", "--name", "sleeper")
    until(lambda: not runs & {client.hget(i, "run") for i in mine}, "new runs")
    type_all("stop", "--state", "running", "--name", "sleeper")
    until(lambda: {client.hget(i, "state") for i in mine} == {"STOPPED"}, "stopped")
    assert client.hget(other, "state") == "RUNNING"
    assert client.hget(other, "control") is None
    type_all("start", "--all")
    until(lambda: {client.hget(i, "state") for i in mine} == {"RUNNING"}, "started")
    type_all("stop", "--name", "sleeper")
    until(lambda: {client.hget(i, "state") for i in mine} == {"STOPPED"}, "stopped")
    broken = cli("new", "broken").stdout.strip()
    assert cli("wait", broken).exit_code == 1
    type_all("requeue", "--all")
    until(lambda: client.hget(broken, "attempts") == "2", "it ran again")
    assert cli("wait", broken).exit_code == 1
    type_all("rm", "--name", "sleeper")
    assert not client.exists(*mine)
    assert client.exists(broken, other) == 2
    type_all("rm", "--all")
    assert not client.exists(broken)
    assert client.exists(other)  # it runs


@REDIS_CLI
@pytest.mark.parametrize("named", [True, False])
def test_ids_and_names_of_any_text_in_a_namespace_of_parts(type_all, monkeypatch, named):
    """What a shell would make something else of, in one of two partitions of a namespace with a blank."""
    monkeypatch.setenv("PYTASK_NAMESPACE", "my app:")
    monkeypatch.setenv("PYTASK_PARTITIONS", "2")
    ids = ["it's", "$HOME", "`id`", 'a "b"', "x -n", "two  blanks", "back\\slash", "*", "größe"]
    with start_server("valkey") as server, Client(server.url, namespace="my app:", partitions=2) as made:
        made.start_many((name, None, f"{task_id}{name}") for task_id in ids for name in ("f 'g'", "other"))
        mine = [f"{task_id}f 'g'" for task_id in ids]
        type_all("stop", *(mine if named else ["--name", "f 'g'"]), at=server)
        assert {task.id for task in made.list(state="STOPPED")} == set(mine)
        assert {task.id for task in made.list(state="WAIT")} == {f"{task_id}other" for task_id in ids}


@REDIS_CLI
def test_deleting_by_hand_leaves_nothing_behind(type_all):
    with start_server("valkey") as server, redis.Redis.from_url(server.url, decode_responses=True) as client:
        client.hset("p", mapping={"function": "nobody's", "state": "WAIT"})
        client.lpush("pytask:parked:nobody's", "p", "other")
        client.hset("alone", mapping={"function": "unheard of", "state": "WAIT"})
        client.lpush("pytask:parked:unheard of", "alone")
        client.sadd("pytask:parked", "nobody's", "unheard of")
        client.lpush("new-task", "p", "other", "p")
        client.lpush("pytask:log:p", "{}")
        for state in ("WAIT", "STOPPED", "ENDED", "ERROR"):
            client.zadd(f"pytask:index:{state}", {"p": 1, "other": 2})
        type_all("rm", "p", "alone", at=server)
        assert client.smembers("pytask:parked") == {"nobody's"}
        assert sorted(client.keys()) == sorted(
            [
                "new-task",
                "pytask:parked",
                "pytask:parked:nobody's",
                *(f"pytask:index:{s}" for s in State if s != "RUNNING"),
            ]
        )
        assert client.lrange("new-task", 0, -1) == client.lrange("pytask:parked:nobody's", 0, -1) == ["other"]
        assert all(client.zrange(f"pytask:index:{s}", 0, -1) == ["other"] for s in State if s != "RUNNING")


def places(client, space):
    """All lists and sets of a namespace, and what is left of its tasks; no times."""
    found = {}
    for key in client.keys(f"{space}*"):
        name, kind = key.removeprefix(space), client.type(key)
        if name.startswith("pytask:index:"):
            found[name] = client.zrange(key, 0, -1)
        elif name.startswith("pytask:") or name == "new-task":
            read = {
                "list": lambda k: client.lrange(k, 0, -1),
                "set": client.smembers,
                "zset": lambda k: client.zrange(k, 0, -1, withscores=True),
                "hash": client.hgetall,
            }
            # Arrivals are times; what came from the queue is below 0.
            found[name] = read[kind](key)
            if name == "pytask:woken":
                found[name] = {i: at.startswith("-") for i, at in found[name].items()}
            if name.startswith("pytask:group:"):
                found[name] = [(i, at < 0) for i, at in found[name]]
        else:
            found[name] = client.hmget(key, "state", "function", "group")
    return found


@REDIS_CLI
@pytest.mark.parametrize("verb", ["stop", "rm", "pause"])
@pytest.mark.parametrize("which", ["t0", "t2", "t3", "x", "y", "q", "alone"])
def test_what_waits_for_a_slot_is_taken_out_as_printed(tmp_path, cli, verb, which):
    """The runner of a group, those that follow it, those that wait for a function, and one that was woken."""
    with start_server("valkey") as server, redis.Redis.from_url(server.url, decode_responses=True) as client:
        for space in ("a:", "b:"):
            with Client(server.url, namespace=space) as made:
                for n in range(4):
                    made.start("f", id=f"t{n}", group="it's g")
                made.start("f", id="alone", group="h")
            # One of those that follow was stopped by a worker that does not know limits.
            client.hset(f"{space}t1", "state", "STOPPED")
            for task_id in "xyq":
                client.hset(f"{space}{task_id}", mapping={"function": "slow", "state": "WAIT"})
            client.zadd(f"{space}pytask:group:function:slow", {"x": 5, "y": -3})
            client.zadd(f"{space}pytask:groups", {"function:slow": 0})
            client.hset(f"{space}pytask:woken", "q", -5)
            client.rpush(f"{space}new-task", "q")
        assert places(client, "a:") == places(client, "b:")
        assert client.hget("a:pytask:runners", "it's g") == "t0"
        script = cli(verb, which, "--explain", "--redis", server.url, "--namespace", "a:")
        assert script.exit_code == 0
        typed(script.stdout, server, tmp_path)
        assert cli(verb, which, "--redis", server.url, "--namespace", "b:").exit_code == 0
        assert places(client, "a:") == places(client, "b:")
        if which == "t0":
            assert client.hget("a:pytask:runners", "it's g") == "t2"
            assert client.lrange("a:new-task", 0, -1)[0] == "t2"
