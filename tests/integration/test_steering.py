"""The verbs that start, steer, wait and watch: a real server and a real worker."""

import json
import re
import shlex
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from pytask.cli import control
from pytask.cli.printer import Printer
from pytask.cli.selection import Batch, _fresh
from pytask.client import Client, Outcome
from pytask.client.partitions import own_name
from pytask.client.sync_driver import SyncDriver
from pytask.domain.errors import NoSuchTask, TaskExists
from pytask.domain.lifecycle import State
from tests.integration.cli_tools import ECHO, Started, pytask, quickest, redis_cli, typed, until, write
from tests.servers import free_port, start_server

TASKS = (
    """
    from pathlib import Path
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
            enough = Path(self.task_data["until"])
            while not enough.exists():
                try:
                    gevent.sleep(0.05)
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


def test_one_id_is_one_task_which_may_run_again(cli, client):
    for n in (1, 2):
        assert cli("new", "echo", f"n={n}", "--id", "nightly").stdout == "nightly\n"
        assert cli("wait", "nightly").exit_code == 0
        assert (client.hget("nightly", "attempts"), client.hget("nightly", "output")) == (
            str(n),
            f'{{"n":{n}}}',
        )
    other = cli("new", "sleeper", "--id", "nightly")
    assert (other.exit_code, other.stdout) == (1, "")
    assert "PT084" in other.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--data", '{"a": }'], 2, "line 1, column 7"),
        (["--data", "[1]"], 2, "must be a JSON object"),
        (["--data", "@nowhere.json"], 2, "cannot read 'nowhere.json'"),
        (["word"], 2, "is not KEY=VALUE"),
    ],
)
def test_wrong_data_is_pointed_at(cli, words, code, said):
    made = cli("new", "echo", *words)
    assert (made.exit_code, made.stdout) == (code, "")
    assert said in made.stderr


def test_a_name_that_nobody_knows_is_told_and_kept(cli, client):
    made = cli("new", "slepper")
    assert made.exit_code == 0
    assert "no running worker knows 'slepper'; did you mean 'sleeper'?" in made.stderr
    until(lambda: client.llen("pytask:parked:slepper") == 1, "it is parked")
    assert cli("rm", made.stdout.strip()).exit_code == 0


def test_stop_start_and_reload(cli, client):
    made = cli.started("sleeper", "n=1")
    stopped = cli("stop", made[:12], "--wait", "30", "-o", "json")  # the beginning of an id will do
    assert stopped.exit_code == 0, stopped.stderr
    assert rows(stopped)[made] == {
        "id": made, "outcome": "done", "state": "STOPPED", "done": True, "reason": None,
    }  # fmt: skip
    again = cli("start", made, "--wait", "30")
    assert again.stdout.splitlines()[1].split() == [made, "done", "RUNNING"]
    run = client.hget(made, "run")
    anew = cli("reload", made, "--data", '{"n": 2}', "--wait", "30", "-o", "json")
    assert rows(anew)[made]["done"], anew.stderr
    assert client.hget(made, "run") not in (None, run)
    assert client.hget(made, "data") == '{"n":2}'
    running = cli("rm", made)
    assert (running.exit_code, "PT085" in running.stderr) == (1, True)
    (fix,) = re.findall(r"`pytask (.*?)`", running.stderr)
    assert cli(*fix.split()).exit_code == 0  # as it is printed
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
        assert f"Z stop requested by {user}\n" in shown
        assert "Z started again by night shift\n" in shown
        assert ": started again by night shift, then claimed by w1; " in shown
    assert "%20" not in cli("show", made).stdout
    assert cli("stop", made, "--wait", "30").exit_code == 0


def test_a_dead_worker_s_task_is_put_back_where_no_monitor_lives(tmp_path, cli, monkeypatch):
    write(tmp_path / "tasks.py", TASKS)
    scale = ("--time-scale", "0.1")  # T = 9 s
    with start_server("valkey") as store, redis.Redis.from_url(store.url, decode_responses=True) as client:
        monkeypatch.setenv("PYTASK_REDIS_URL", store.url)
        run = pytask("run", "tasks.py", "--no-monitor", "--redis", store.url, "--name")
        with Started([*run, "dies", *scale], tmp_path, tmp_path) as dying:
            ids = [cli.started("sleeper", f"n={n}") for n in range(2)]
            alive = cli("requeue", *ids, *scale)
            assert (alive.exit_code, alive.stderr.count("PT085")) == (1, 1), alive.stderr
            assert re.search(r"runs: its lease was renewed \d s ago", alive.stderr)
            assert [line.split()[1:] for line in alive.stdout.splitlines()[1:]] == 2 * [["runs", "RUNNING"]]
            dying.process.kill()
            dying.process.wait()
        with Started([*run, "lives"], tmp_path, tmp_path) as living:
            until(lambda: client.zcard("pytask:workers") == 2, lambda: living.output)
            # T has passed by the clock of Redis, too; the verb watches for T by its own.
            client.zadd("pytask:leases", dict.fromkeys(ids, (client.time()[0] - 10) * 1_000_000))
            done = cli("requeue", *ids, *scale, "-o", "json")
            assert done.exit_code == 0, done.stderr
            assert "2 of them are RUNNING: leases that are not being renewed are observed for" in done.stderr
            assert all(row["done"] for row in rows(done).values())
            until(lambda: {client.hget(i, "worker") for i in ids} == {"lives"}, lambda: living.output)
            assert f"Z requeued by {own_name()[:64]}: the lease of dies was not renewed for " in (
                cli("show", ids[0]).stdout
            )
            assert client.lrange("new-task", 0, -1) == []


def test_what_does_not_exist_is_4_and_the_others_are_done(cli, client):
    made = cli.started("sleeper")
    late = ("--wait", "30")
    steps = [("reload", late), ("stop", late), ("start", late), ("stop", ()), ("stop", late)]
    steps += [("requeue", late), ("stop", late), ("rm", ())]
    for verb, words in steps:
        shown = cli(verb, "no-such-task", made, "nor-this", *words, "-o", "json")
        assert shown.exit_code == 4, (verb, shown.output)
        assert shown.stderr.startswith("pytask: [PT080] no task matches 'no-such-task'")
        assert "\n  and 1 more\n" in shown.stderr
        found = rows(shown)
        assert list(found) == ["no-such-task", made, "nor-this"]
        word = {"rm": "deleted"}.get(verb, "done" if words else "asked")
        assert [row["outcome"] for row in found.values()] == ["no such task", word, "no such task"], verb
    assert not client.exists(made)
    for verb in ("wait", "show", "logs", "why"):
        gone = cli(verb, "no-such-task")
        assert (gone.exit_code, "PT080" in gone.stderr) == (4, True), verb


def test_one_that_may_be_several_is_told_and_the_others_are_done(cli, client):
    for task_id in ("vague-1", "vague-2", "plain"):
        client.hset(task_id, mapping={"function": "f", "state": "ENDED"})
    client.set("vague-text", "no task")
    shown = cli("rm", "vague", "plain")
    assert (shown.exit_code, "[PT081]" in shown.stderr) == (2, True)
    assert [line.split()[:2] for line in shown.stdout.splitlines()[1:]] == [
        ["vague", "ambiguous"],
        ["plain", "deleted"],
    ]
    assert not client.exists("plain")
    shown = cli("rm", "vague", "vague-3", "vague-2", "vague-text", "-o", "json")
    assert shown.exit_code == 4  # one that is missing is worse
    assert "did you mean 'vague-" in shown.stderr
    assert "[PT081]" in shown.stderr
    assert "[PT054] the key 'vague-text' is not a hash" in shown.stderr
    assert [row["outcome"] for row in rows(shown).values()] == [
        "ambiguous",
        "no such task",
        "deleted",
        "no task",
    ]
    assert "give a longer prefix" in rows(shown)["vague"]["reason"]
    again = cli("stop", "vague-3")
    assert "vague-3  no such task (did you mean vague-1?)" in again.stdout
    assert cli("rm", "vague-1").exit_code == 0
    assert client.getdel("vague-text") == "no task"


ON_IDS = ("show", "why", "logs", "watch", "wait", "stop", "start", "reload", "requeue", "rm")


@pytest.mark.parametrize(
    "words",
    [*([verb, ""] for verb in ON_IDS), ["rm", "x", "", "--explain"], ["new", "echo", "--id", ""]],
    ids=" ".join,
)
def test_an_empty_id_means_no_task(cli, words):
    shown = cli(*words)
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert "an id must not be empty" in shown.stderr


@pytest.mark.parametrize(
    "words", [["show", "\udcff"], ["rm", "x", "\udcff"], ["new", "echo", "--id", "\udcff"]]
)
def test_an_id_that_is_no_text_is_refused(cli, words):
    shown = cli(*words)
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert "an id must be UTF-8, not '\\udcff'" in shown.stderr


def test_a_task_that_cannot_be_is_not_said_to_wait(cli):
    for words in (["new", ""], ["new", "nobody-knows", "--id", "pytask:x"]):
        shown = cli(*words)
        assert (shown.exit_code, shown.stdout) == (2, "")
        assert "[PT030]" in shown.stderr
        assert "It waits" not in shown.stderr


@pytest.mark.parametrize(
    "words",
    [["wait", "x", "--for"], ["stop", "-y", "--state"], ["ls", "--state"]],
    ids=lambda words: words[0],
)
def test_a_state_that_is_none_is_told_with_the_one_that_looks_like_it(cli, words):
    for word, near in (("waiting", "WAIT"), ("runing", "RUNNING"), ("foo", "")):
        shown = cli(*words, word)
        assert shown.exit_code == 2
        assert f"unknown state '{word}'{f' (did you mean {near}?)' if near else ''}; states:" in shown.stderr


def test_reload_of_what_does_not_run_fails_and_names_what_does_it(cli, client):
    made = cli.started("sleeper", "n=1")
    assert cli("stop", made, "--wait", "30").exit_code == 0
    for words in ((), ("--wait", "5"), ("--data", '{"n": 2}')):
        shown = cli("reload", made, *words)
        assert shown.exit_code == 1
        assert shown.stdout.splitlines()[1].split() == [made, "does", "not", "run", "STOPPED"]
        assert f"[PT088] '{made}' is not running" in shown.stderr
    assert "the new data is written down: it is STOPPED" in shown.stderr
    (fix,) = re.findall(r"`pytask (.*?)`", shown.stderr)
    assert cli(*fix.split(), "--wait", "30").exit_code == 0
    assert client.hget(made, "data") == '{"n":2}'
    assert client.hget(made, "state") == "RUNNING"
    assert cli("reload", "--name", "nothing", "-y").exit_code == 0  # of a bulk, those that run are meant
    client.hset("waits", mapping={"function": "unknown", "data": "{}"})
    shown = cli("reload", "waits", made, "--wait", "30", "-o", "json")
    assert shown.exit_code == 1
    assert {i: row["outcome"] for i, row in rows(shown).items()} == {"waits": "does not run", made: "done"}
    assert "it is WAIT, and begins with the data that is in its hash" in shown.stderr
    assert cli("rm", "waits").exit_code == 0
    assert cli("stop", made, "--wait", "30").exit_code == 0


def test_requeue_waits_until_they_run(cli, client):
    made = [cli.started("sleeper", f"n={n}") for n in range(2)]
    ended = cli("new", "echo", "--wait", "30", "-o", "id").stdout.strip()
    assert cli("stop", *made, "--wait", "30").exit_code == 0
    again = cli("requeue", *made, ended, "--wait", "30", "-o", "json")
    assert again.exit_code == 0, again.stderr
    assert [rows(again)[i]["state"] for i in made] == ["RUNNING", "RUNNING"]
    assert rows(again)[ended]["state"] in ("RUNNING", "ENDED")
    assert client.hget(ended, "attempts") == "2"
    assert cli("stop", *made, "--wait", "30").exit_code == 0


def test_a_start_that_ends_in_error_is_not_done(cli, client):
    cli("new", "broken", "--id", "fails", "--wait", "30")
    # What is waited for is that it runs: it may still run at the look, or have failed by then.
    until(lambda: cli("start", "fails", "--wait", "30").exit_code == 1, "it has failed by then")
    shown = cli("start", "fails", "--wait", "30", "-o", "json")
    while shown.exit_code == 0:
        shown = cli("start", "fails", "--wait", "30", "-o", "json")
    assert rows(shown)["fails"] | {"reason": ""} == {
        "id": "fails", "outcome": "failed", "state": "ERROR", "done": False, "reason": ""
    }  # fmt: skip
    assert "[PT141] 'fails' ran and failed: pytask why fails" in shown.stderr
    assert cli("rm", "fails").exit_code == 0


def test_a_new_task_of_which_nothing_is_kept_shows_how_it_ended(tmp_path, cli, monkeypatch):
    write(tmp_path / "tasks.py", TASKS)
    with start_server("valkey") as server:
        monkeypatch.setenv("PYTASK_REDIS_URL", server.url)
        env = {"PYTASK_KEEP_ENDED": "0", "PYTASK_KEEP_ERROR": "0"}
        with Started(pytask("run", "tasks.py", "--redis", server.url), tmp_path, tmp_path, **env) as daemon:
            daemon.says("takes tasks from")
            for number in range(5):
                made = cli("new", "echo", f"n={number}", "--wait", "30", "-o", "json")
                assert made.exit_code == 0, made.stderr
                shown = json.loads(made.stdout)
                assert (shown["state"], shown["output"], shown["data"]) == (
                    "ENDED",
                    {"n": number},
                    {"n": number},
                )
            made = cli("new", "broken", "--wait", "30", "-o", "json")
            assert (made.exit_code, json.loads(made.stdout)["error"]) == (1, "as asked")


def test_a_start_that_no_worker_takes_is_told_as_it_is(cli, client):
    for task_id in ("unknown-1", "unknown-2"):
        client.hset(task_id, mapping={"function": "nobody's", "state": "ENDED"})
    for verb in ("start", "requeue"):
        late = cli(verb, "unknown-1", "unknown-2", "--wait", "0.5", "-o", "json")
        assert late.exit_code == 124
        assert [(row["outcome"], row["state"]) for row in rows(late).values()] == 2 * [("not yet", "WAIT")]
        assert "[PT082] no worker claimed 'unknown-1' within" in late.stderr
        assert "it is WAIT" in late.stderr
        assert "written down" not in late.stderr
    assert cli("rm", "unknown-1", "unknown-2").exit_code == 0
    with start_server("valkey") as server, redis.Redis.from_url(server.url, decode_responses=True) as alone:
        alone.hset("t", mapping={"function": "sleeper", "state": "STOPPED"})
        for verb in ("start", "requeue"):
            late = cli(verb, "t", "--wait", "0.1", "--redis", server.url)
            assert late.exit_code == 1
            assert late.stdout.splitlines()[1].split() == ["t", "not", "heard", "WAIT"]
            assert (
                "[PT086] no worker is subscribed: 't' is queued and starts when a worker is available"
                in late.stderr
            )
        assert alone.lrange("new-task", 0, -1) == ["t"]


def test_an_error_names_the_verb_that_mends_it(cli, client):
    """In a program the same error names the call."""
    assert cli("new", "echo", "n=1", "--id", "it's taken").exit_code == 0
    assert cli("wait", "it's taken").exit_code == 0
    taken = cli("new", "sleeper", "--id", "it's taken")
    assert "start_again" not in taken.stderr
    (fix,) = re.findall(r"or use `pytask (.*?)`", taken.stderr)
    again = cli(*shlex.split(fix), "--wait", "30")
    assert again.exit_code == 0
    assert client.hget("it's taken", "attempts") == "2"
    with Client(client) as made, pytest.raises(TaskExists, match=r'use start_again\("it\'s taken", data\)'):
        made.start("sleeper", {"n": 2}, id="it's taken")
    running = cli.started("sleeper")
    shown = cli("rm", running, "-o", "json")
    assert rows(shown)[running]["reason"].endswith(
        f"stop it first, `pytask stop {running} --wait 30`, then remove it"
    )
    assert cli("stop", running, "--wait", "30").exit_code == 0


def test_what_is_deleted_after_a_while_is_told_alike_everywhere(cli, client):
    settings = r"settings keep_ended, keep_error, keep_stopped\)"
    for verb in ("show", "stop", "rm"):
        assert re.search(settings, cli(verb, "no-such-task").stderr), verb
    with Client(client) as made:
        for call in (made.get, made.stop, made.start_again, made.wait):
            with pytest.raises(NoSuchTask, match=settings):
                call("no-such-task")
    assert re.search(settings, " ".join(cli("explain", "PT080").stdout.split()))


# -- many --------------------------------------------------------------------------------------------------


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
        assert (asked.exit_code, "Start 8 tasks? Nobody can be asked here: add -y" in asked.stderr) == (
            2,
            True,
        )
        assert client.llen("new-task") == 0
        assert cli("start", "--all", "-y", "--redis", server.url).exit_code == 0
        assert sorted(client.lrange("new-task", 0, -1)) == [f"t{at}" for at in range(8)]


def test_the_time_to_wait_begins_when_all_were_told(monkeypatch):
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


def test_what_does_not_come_in_time_is_124(cli, client, tmp_path):
    made = cli.started("sleeper")
    late = cli("wait", made, "--timeout", "0.1")
    assert (late.exit_code, late.stdout) == (124, "")
    assert "it is RUNNING" in late.stderr
    deaf = cli.started("deaf", f"until={tmp_path / 'enough'}")
    with client.pubsub(ignore_subscribe_messages=True) as stream:
        stream.subscribe(f"task-{deaf}-control")
        late = cli("stop", deaf, made, "--wait", "5", "-o", "json")  # the time in which the other one stops
        client.publish(f"task-{deaf}-control", "over")
        words = []
        until(lambda: words.append(stream.get_message(timeout=1)) or "over" in str(words), words)
    # What is awaited is told once: a second word might undo what somebody else did in between.
    assert [one["data"] for one in words if one is not None] == ["stop", "over"]
    assert late.exit_code == 124
    assert [rows(late)[i]["outcome"] for i in (deaf, made)] == ["not yet", "done"]
    (tmp_path / "enough").touch()  # or it would go on telling that it does not stop
    assert cli("wait", deaf, "--for", "stopped").exit_code == 0


def test_watching(cli, client, store, tmp_path):
    with client.pubsub(ignore_subscribe_messages=True) as stream:
        stream.subscribe("task-watched")
        made = cli.started("sleeper", "n=1", "--id", "watched")
        # What it tells at its start must not come when the others listen.
        until(lambda: "slept" in str(stream.get_message(timeout=1)), "its first event")
    with (
        Started(pytask("watch", made, "-o", "jsonl", "--redis", store.url), tmp_path) as one,
        Started(pytask("watch", "--redis", store.url, "--count", "3"), tmp_path) as everything,
    ):
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


def test_watching_what_is_not_there_yet_waits_for_it(client, store, tmp_path):
    command = pytask("watch", "later-1", "--count", "2", "-o", "jsonl", "--redis", store.url)
    with Started(command, tmp_path) as watching:
        watching.says("task 'later-1' does not exist yet: waiting for its events")
        until(lambda: client.pubsub_numsub("task-later-1")[0][1], lambda: watching.output)
        client.hset("later-1", mapping={"function": "echo", "data": "{}"})
        client.lpush("new-task", "later-1")
        assert watching.process.wait(30) == 0, watching.output
        events = [json.loads(line)["event"] for line in watching.output.splitlines() if line.startswith("{")]
    assert events == ["running", "ended"]


def test_watching_for_a_time(cli):
    ended = json.loads(cli("new", "echo", "--wait", "30", "-o", "json").stdout)["id"]
    shown = cli("watch", ended, "--for", "0.2")
    assert (shown.exit_code, shown.stdout) == (0, "")


@pytest.mark.parametrize(
    "words", [["new", "x"], ["stop", "x"], ["wait", "x"], ["watch"], ["rm", "--all", "-y"]]
)
def test_a_wrong_address_is_told_soon(cli, words):
    def told():
        shown = cli(*words, "--redis", f"redis://127.0.0.1:{free_port()}")
        assert shown.exit_code == 69
        assert "--redis URL" in shown.stderr

    assert quickest(told) < 1.0


# -- what --explain prints ---------------------------------------------------------------------------------

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
    script = cli("watch", made, "--for", "10", "--explain").stdout
    everything = cli("watch", "--for", "10", "--explain").stdout
    with ThreadPoolExecutor(2) as pool:
        heard = [pool.submit(typed, text, store, tmp_path) for text in (script, everything)]
        until(lambda: client.pubsub_numsub(f"task-{made}")[0][1], "it listens")
        until(lambda: client.pubsub_numpat() >= 2, "and to all")
        assert cli("stop", made, "--wait", "30").exit_code == 0
        for one in heard:
            assert '{"event":"stopped","data":null}' in one.result().splitlines()
    assert time.monotonic() - began >= 11


@REDIS_CLI
def test_what_is_typed_where_no_worker_listens_is_kept(cli, type_all, tmp_path):
    """A message alone would be lost: the worker that comes later finds what was wished."""
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
