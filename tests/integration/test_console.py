"""The verbs that look: a real server, a real worker, and the commands that they send counted."""

import contextlib
import json
import os
import pty
import re
import signal
import socketserver
import subprocess
import sys
import threading
import time

import pytest
import redis

from pytask.adapters.keys import Keys
from pytask.adapters.redis.store import RedisStore
from pytask.cli import fleet as fleet_module
from pytask.domain.figures import WorkerInfo
from pytask.domain.lifecycle import RESTING, State
from pytask.domain.version import PROTOCOL
from tests.support.cli_tools import (
    SLEEPER,
    Started,
    done,
    environment,
    pytask,
    redis_cli,
    sent_by,
    typed,
    until,
    write,
)  # fmt: skip
from tests.support.servers import free_port, start_server

APPENDONLY = True

TASKS = (
    SLEEPER
    + """
    class Broken(Task):
        class Config:
            NAME = "broken"
        def start(self):
            raise ValueError("a \\x1b[31mred\\x1b[0m pipe")

    class Sum(Task):
        class Config:
            NAME = "sum"
        def start(self):
            return {"sum": sum(self.task_data["of"])}
"""
)


def push(client, function, *ids, data="{}"):
    for task_id in ids:
        client.hset(task_id, mapping={"function": function, "data": data})
        client.lpush("new-task", task_id)


@pytest.fixture
def fleet(store, client, cli, tmp_path):
    """A worker with running, ended, failed and parked tasks."""
    write(tmp_path / "tasks.py", TASKS)
    push(client, "sleeper", "sleep-1", "sleep-2")
    push(client, "broken", "broken-1")
    push(client, "sum", "sum-1", data='{"of": [1, 2, 3]}')
    push(client, "sleper", "parked-1")
    client.lpush("new-task", "ghost")
    command = pytask("run", "tasks.py", "--redis", store.url, "--name", "w1")
    with Started(command, tmp_path, tmp_path) as daemon:
        until(lambda: client.hget("sleep-2", "state") == "RUNNING", lambda: daemon.output)
        until(lambda: client.llen("pytask:rejected") == 1, lambda: daemon.output)
        until(lambda: client.zcard("pytask:monitors") == 1, lambda: daemon.output)
        until(lambda: client.zcard("pytask:workers") == 1, lambda: daemon.output)
        until(lambda: client.zcard("pytask:index:ERROR") + client.zcard("pytask:index:ENDED") == 2, "ends")
        yield daemon


def test_what_there_is_and_why(fleet, cli):
    ids = {item["id"]: item for item in cli.json("ls")["items"]}
    assert {ids[i]["state"] for i in ("sleep-1", "sleep-2")} == {"RUNNING"}
    assert (ids["broken-1"]["state"], ids["sum-1"]["state"], ids["parked-1"]["state"]) == (
        "ERROR",
        "ENDED",
        "WAIT",
    )
    assert [item["id"] for item in cli.json("ls", "-s", "error")["items"]] == ["broken-1"]
    assert [item["id"] for item in cli.json("ls", "-n", "sum")["items"]] == ["sum-1"]
    assert cli("ls", "-s", "ERROR", "-o", "id").stdout == "broken-1\n"
    assert len(cli("ls", "--worker", "w1", "-s", "running", "-o", "jsonl").stdout.splitlines()) == 3
    lines = cli("ls", "-s", "ended").stdout.splitlines()
    assert lines[0].split() == ["ID", "STATE", "FUNCTION", "WORKER", "UPDATED"]
    assert lines[1].split()[:4] == ["sum-1", "ENDED", "sum", "w1"]

    shown = cli.json("show", "sum-1")
    assert (shown["version"], shown["kind"], shown["data"], shown["output"]) == (
        1,
        "task",
        {"of": [1, 2, 3]},
        {"sum": 6},
    )
    text = cli("show", "broken-1").stdout
    assert "ValueError: a \\x1b[31mred\\x1b[0m pipe" in text
    assert "\x1b" not in text

    assert ": claimed by w1; its worker on " in cli("why", "sleep-1").stdout
    assert f"(pid {fleet.process.pid}) renewed its lease " in cli("why", "sleep-1").stdout
    parked = cli("why", "parked-1").stdout
    assert "no live worker knows `sleper` (did you mean sleeper?), so it is parked\n" in parked
    assert ": failed on w1: ValueError: a \\x1b[31mred" in cli("why", "broken-1").stdout
    assert ": ended by itself on w1\n" in cli("why", "sum-1").stdout

    status = cli.json("status")
    assert status["tasks"] == {"RUNNING": 3, "ENDED": 1, "ERROR": 1, "STOPPED": 0, "WAIT": 1}
    assert (status["workers"], status["parked"], status["rejected"]) == (1, {"sleper": 1}, 1)
    assert "parked    1 for sleper" in cli("status").stdout

    until(lambda: cli.json("workers")["items"][0]["running"] == 3, "it shows itself again")
    (worker,) = cli.json("workers")["items"]
    assert (worker["name"], worker["pid"], worker["running"], worker["alive"]) == (
        "w1",
        fleet.process.pid,
        3,
        True,
    )
    rows = {item["name"]: item for item in cli.json("functions")["items"]}
    sleper = {"name": "sleper", "paused": False, "workers": 0, "parked": 1, "near": ["sleeper"]}
    assert rows["sleper"] == sleper
    assert rows["sleeper"]["workers"] == 1
    top = cli("top").stdout.splitlines()
    assert top[0].startswith("RUNNING 3  ENDED 1  ERROR 1")
    assert top[3].split()[0] == "w1"
    picture = cli.json("top")
    assert (picture["tasks"]["RUNNING"], [item["name"] for item in picture["items"]]) == (3, ["w1"])

    found = {item["code"]: item for item in json.loads(cli("doctor", "-o", "json").stdout)["items"]}
    assert set(found) == {"PT092", "PT095", "PT142"}
    assert "sleper (did you mean sleeper?)" in found["PT092"]["what"]
    assert "'ghost': no-hash" in found["PT095"]["what"]


def test_the_beginning_of_an_id_is_enough_while_it_is_one_task(client, cli):
    push(client, "f", "order-17", "order-18", "other*[1]")
    assert cli("show", "order-17", "-o", "id").stdout == "order-17\n"
    assert cli("show", "oth", "-o", "id").stdout == "other*[1]\n"
    assert cli("show", "other*[", "-o", "id").stdout == "other*[1]\n"
    for beginning in ("o", "order-1"):
        shown = cli("show", beginning)
        assert (shown.exit_code, shown.stdout) == (2, "")
        assert "[PT081]" in shown.stderr
    assert "order-17, order-18" in cli("show", "order-1").stderr
    for none in ("order-19", "pytask:", "*", "new-t"):
        shown = cli("show", none)
        assert (shown.exit_code, shown.stdout) == (4, ""), shown
        assert "[PT080]" in shown.stderr
    push(client, "f", "order-1")  # a whole id is meant, even where others begin so
    assert cli("show", "order-1", "-o", "id").stdout == "order-1\n"


def test_each_page_leads_to_the_next_and_all_shows_each_once(client, cli):
    push(client, "f", *(f"t{number:03}" for number in range(120)))
    seen, cursor = [], None
    for _ in range(4):
        page = cli.json("ls", "-l", "40", *(["--cursor", cursor] if cursor else []))
        seen += [item["id"] for item in page["items"]]
        cursor = page["cursor"]
        if cursor is None:
            break
    assert sorted(seen) == [f"t{number:03}" for number in range(120)]
    assert cursor is None
    assert len(cli("ls", "--all", "-o", "id").stdout.split()) == 120
    assert len(cli("ls", "--all", "-l", "70", "-o", "id").stdout.split()) == 70
    shown = cli("ls", "-l", "5")
    assert len(shown.stdout.splitlines()) == 6
    assert "more tasks follow: use --all or --cursor " in shown.stderr
    wrong = cli("ls", "--cursor", "abc")
    assert wrong.exit_code == 78
    assert "[PT087]" in wrong.stderr
    slip = cli("ls", "-s", "runing")
    assert slip.exit_code == 2
    assert "did you mean RUNNING?" in slip.stderr


def test_a_cursor_is_short_where_thousands_run_and_leads_to_each_once(client, cli):
    now = client.time()[0] * 1_000_000
    for number in (100, 1000):  # Redis keeps few ids and many in two ways, and scans them in two
        ids = [f"{'a-long-id-of-a-task-' * 3}{n:04}" for n in range(number)]
        client.zadd("pytask:leases", dict.fromkeys(ids, now))
        with client.pipeline(transaction=False) as pipe:
            for task_id in ids:
                pipe.hset(task_id, mapping={"function": "f", "state": "RUNNING"})
            pipe.execute()
        seen, cursor = [], None
        while cursor is not None or not seen:
            page = cli.json("ls", "-s", "running", "-l", "30", *(["--cursor", cursor] if cursor else []))
            seen += [item["id"] for item in page["items"]]
            cursor = page["cursor"]
            assert len(cursor or "") < 200
        assert sorted(seen) == ids


# -- the cost ----------------------------------------------------------------------------------------------


def fill(client, number):
    """Many tasks in each state, as workers would leave them."""
    now = client.time()[0]
    with client.pipeline(transaction=False) as pipe:
        for state in State:
            ids = [f"{state.lower()}-{i}" for i in range(number)]
            for at, task_id in enumerate(ids):
                pipe.hset(task_id, mapping={"function": f"f{at % 7}", "state": state, "last_update": now})
            if state in RESTING:
                pipe.zadd(f"pytask:index:{state}", {i: now + at for at, i in enumerate(ids)})
            else:
                pipe.zadd("pytask:leases", dict.fromkeys(ids, now * 1_000_000))
                pipe.hset("pytask:runs", mapping=dict.fromkeys(ids, "s:1"))
            if state == "WAIT":
                pipe.lpush("new-task", *ids)
            pipe.execute()


def spent(client, cli, *words):
    """The calls that a verb made, by command."""
    client.config_resetstat()
    shown = cli(*words)
    assert shown.exit_code == 0, shown.stderr
    stats = client.info("commandstats")
    found = {name.removeprefix("cmdstat_"): one["calls"] for name, one in stats.items()}
    return {
        name: calls
        for name, calls in found.items()
        if name not in ("info", "config|resetstat", "client|setinfo")
    }


def test_no_verb_reads_more_than_it_shows(client, cli):
    fill(client, 4000)
    calls = spent(client, cli, "ls", "-l", "20")
    assert calls["hmget"] == 20
    assert sum(calls.values()) < 40, calls
    for state in State:
        assert spent(client, cli, "ls", "-s", state, "-l", "20")["hmget"] <= 40
    calls = spent(client, cli, "ls", "-n", "nothing", "-l", "20")  # a filter without an index is bounded
    assert calls["hmget"] <= 1500, calls
    for words in (["status"], ["top"], ["workers"], ["functions"], ["why", "ended-1"], ["show", "wait-1"]):
        calls = spent(client, cli, *words)
        assert sum(calls.values()) < 45, (words, calls)
        assert not {"keys", "hgetall", "smembers", "hvals"} & set(calls) - {"hgetall"}, calls
        assert calls.get("scan", 0) == 0
    calls = spent(client, cli, "show", "error-399")  # whole: no search
    assert "scan" not in calls
    shown = cli("show", "error-39")  # the beginning of many: the search ends with the second that fits
    assert shown.exit_code in (0, 2)


# -- what --explain prints ---------------------------------------------------------------------------------


REDIS_CLI = pytest.mark.skipif(not redis_cli(), reason="no redis-cli among the packages here")


@pytest.fixture
def answered(cli, store, tmp_path):
    """The lines that a real redis-cli answers to what a verb prints with `--explain`."""

    def answered(*words):
        shown = cli(*words, "--explain")
        assert (shown.exit_code, shown.stderr) == (0, "")
        assert "<" not in shown.stdout  # nothing is left for the reader to fill in
        return typed(shown.stdout, store, tmp_path).splitlines()

    return answered


LOOKING = [
    ["ls"], ["ls", "-s", "ended"], ["ls", "-s", "wait", "-l", "3"], ["ls", "-n", "it's", "--worker", "a.b"],
    ["show", "a task's"], ["why", "a task's"], ["logs", "a task's"], ["logs", "a task's", "--all"],
    ["status"], ["top"], ["workers"], ["functions"], ["doctor"],
]  # fmt: skip


@REDIS_CLI
@pytest.mark.parametrize("words", LOOKING, ids=" ".join)
@pytest.mark.parametrize("namespace", ["", "my app:"])
def test_a_real_redis_cli_takes_what_explain_prints(client, monkeypatch, answered, words, namespace):
    client.hset(f"{namespace}a task's", mapping={"function": "f", "data": "{}"})
    client.lpush(f"{namespace}new-task", "a task's")
    client.sadd(f"{namespace}pytask:parked", "it's")
    client.lpush(f"{namespace}pytask:parked:it's", "another")
    client.lpush(f"{namespace}pytask:log:a task's", "a line")
    monkeypatch.setenv("PYTASK_NAMESPACE", namespace)
    found = answered(*words)
    if words[0] in ("show", "why"):
        assert found[:4] == ["function", "f", "data", "{}"]
    elif words[0] == "logs":
        assert found == ["a line"]
    elif words[0] in ("status", "top", "functions", "doctor"):
        assert found[found.index("it's") + 1] == "1"
    elif words[0] == "ls":
        assert found == ([] if "-n" in words or "ended" in words else ["a task's", "f", "", "", ""])


@REDIS_CLI
def test_what_explain_prints_answers_what_the_verb_does(fleet, client, cli, answered):
    def listed(*words):
        """id: function, state, worker."""
        rows = answered("ls", *words)
        return {row[0]: tuple(row[1:4]) for row in (rows[at : at + 5] for at in range(0, len(rows), 5))}

    session = client.hget("sleep-1", "run").rpartition(":")[0]
    filters = [[], ["-s", "running"], ["-s", "error", "-s", "ended"], ["-n", "sleeper"], ["-n", "none"]]
    filters += [["--worker", "w1"], ["--worker", session, "-n", "sleeper"], ["--worker", "w"]]
    seen = set()
    for words in filters:
        expected = {
            item["id"]: (item["function"], item["state"], item["worker"] or "")
            for item in cli.json("ls", *words, "-l", "20")["items"]
        }
        assert listed(*words) == expected, words
        seen.add(len(expected))
    assert listed("--all") == listed()
    assert seen >= {0, 2}  # the filters do filter
    assert max(seen) >= 5

    shown = cli.json("show", "sum-1")
    fields = answered("show", "sum-1")[: 2 * client.hlen("sum-1")]
    fields = dict(zip(fields[::2], fields[1::2], strict=True))
    assert (fields["state"], fields["worker"]) == (shown["state"], shown["worker"])
    assert (json.loads(fields["data"]), json.loads(fields["output"])) == (shown["data"], shown["output"])

    status = cli.json("status")
    running, queued, delayed, paused, functions, groups, _, stopped, ended, error, *rest = answered("status")
    assert (int(delayed), int(paused), functions, groups) == (status["delayed"], 0, "", "")
    assert status["delayed"] == 0
    expected = status["tasks"]
    assert (int(running), int(stopped), int(ended)) == (
        expected["RUNNING"],
        expected["STOPPED"],
        expected["ENDED"],
    )
    assert (int(error), int(queued) + int(rest[1])) == (expected["ERROR"], expected["WAIT"])
    assert rest[:3] == ["sleper", str(status["parked"]["sleper"]), str(status["rejected"])]

    recent_workers = cli.json("workers")["items"]
    assert {item["session"] for item in recent_workers} <= set(answered("workers"))
    known, name, parked, *_paused = answered("functions")
    functions = {item["name"]: item for item in cli.json("functions")["items"]}
    assert {*json.loads(known)["functions"], name} == set(functions)
    assert (name, int(parked)) == ("sleper", functions["sleper"]["parked"])
    assert f"{session}:" in "".join(answered("why", "sleep-1"))


@REDIS_CLI
def test_what_the_doctor_reads_shows_each_fault(store, client, cli, tmp_path):
    """Up to the counts, which a key of another type refuses to the verb, too."""
    client.config_set("maxmemory-policy", "allkeys-lru")
    client.hset("pytask:monitors", "another", "program's")
    try:
        found = cli("doctor", "--explain").stdout.splitlines()
        redis_cli = f"redis-cli -h {store.host} -p {store.port} -n 0"
        reads = found[: found.index(f"{redis_cli} ZCARD pytask:leases")]
        answers = typed("\n".join(reads), store, tmp_path).splitlines()
        assert answers[answers.index("maxmemory-policy") + 1] == "allkeys-lru"
        types = [line for line in reads if line.startswith(f"{redis_cli} TYPE ")]
        at = answers.index("none")
        assert answers[at : at + len(types)][types.index(f"{redis_cli} TYPE pytask:monitors")] == "hash"
        assert {"PT054", "PT075"} <= set(codes(cli))
    finally:
        client.config_set("maxmemory-policy", "noeviction")


# -- the doctor --------------------------------------------------------------------------------------------


def codes(cli, *words):
    shown = cli("doctor", "-o", "json", *words)
    items = json.loads(shown.stdout)["items"]
    assert shown.exit_code == (3 if any(item["serious"] for item in items) else 0)
    return {item["code"]: item for item in items}


def obey(client, fix):
    """The fix as it is printed, given to the server."""
    return client.execute_command(*sent_by(fix))


def test_a_healthy_server_has_nothing_to_mend(client, cli):
    shown = cli("doctor")
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert shown.stdout.startswith("no problems found: redis://")


def test_settings_of_the_server_and_their_fixes(client, cli):
    client.config_set("maxmemory-policy", "allkeys-lru")
    client.config_set("appendonly", "no")
    client.config_set("timeout", "30")
    found = codes(cli)
    assert set(found) == {"PT075", "PT076", "PT077"}
    for one in found.values():
        obey(client, one["fix"])
    assert codes(cli) == {}


def test_a_replica_names_its_primary(store, cli):
    with start_server("valkey", "--replicaof", f"{store.host} {store.port}", appendonly=True) as replica:
        found = codes(cli, "--redis", replica.url)
        assert f"{store.host}:{store.port}" in found["PT072"]["fix"]
        assert "PT072" not in codes(cli, "--redis", f"redis://{store.host}:{store.port}/0")


def test_a_clock_that_is_off(client, cli, monkeypatch):
    real = time.time
    monkeypatch.setattr(fleet_module.time, "time", lambda: real() - 300)
    assert re.search(r"is (4m5\ds|5m\S*) ahead of the clock of this", codes(cli)["PT090"]["what"])
    monkeypatch.setattr(fleet_module.time, "time", lambda: real() + 300)
    assert re.search(r"is (4m5\ds|5m\S*) behind", codes(cli)["PT090"]["what"])
    monkeypatch.setattr(fleet_module.time, "time", real)
    assert codes(cli) == {}


def test_the_other_project_of_our_name(client, cli, monkeypatch, tmp_path):
    info = tmp_path / "pytask-0.5.8.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pytask\nVersion: 0.5.8\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "pip uninstall -y pytask pytaskd" in codes(cli)["PT025"]["fix"]
    monkeypatch.undo()


def test_a_client_library_that_mixes_up_replies(client, cli, monkeypatch):
    monkeypatch.setattr(redis, "__version__", "4.5.1")
    assert codes(cli)["PT024"]["fix"] == "pip install 'redis>=5'"
    monkeypatch.setattr(redis, "__version__", "5.0.0")
    assert codes(cli) == {}


def test_a_key_of_another_type_and_its_fix(client, cli):
    client.set("new-task", "mine")
    found = codes(cli)
    assert set(found) == {"PT054"}
    obey(client, found["PT054"]["fix"])
    assert codes(cli) == {}
    assert client.get("new-task.other") == "mine"


def test_tasks_without_a_worker_runs_without_an_owner_and_no_monitor(client, cli):
    old = (client.time()[0] - 3600) * 1_000_000
    client.hset("lost", mapping={"function": "sleeper", "data": "{}", "state": "RUNNING", "run": "gone:1"})
    client.hset("pytask:runs", "lost", "gone:1")
    client.zadd("pytask:leases", {"lost": old})
    push(client, "sleeper", "new")
    assert set(codes(cli)) == {"PT091", "PT093", "PT096"}
    assert "is silent" in cli("why", "lost").stdout
    assert "no monitor is running to requeue it" in cli("why", "lost").stdout
    assert "or requeue it now: pytask requeue lost" in cli("why", "lost").stdout
    assert "no worker is running" in cli("why", "new").stdout


def test_a_run_that_is_requeued_later_because_it_crashed_before_is_no_orphan(client, cli):
    """Its lease is older than usual, but its pause (five expiries after the second crash) has not passed."""
    now = client.time()[0]
    client.zadd("pytask:monitors", {"m": now})
    client.hset("young", mapping={"function": "f", "state": "RUNNING", "run": "gone:1", "crashes": 2})
    client.hset("pytask:runs", "young", "gone:1")
    for silent, age, found in ((300, 20, set()), (300, 100, {"PT091"}), (600, 20, {"PT091"})):
        client.zadd("pytask:leases", {"young": (now - silent) * 1_000_000})
        client.hset("young", "epoch", (now - silent - age) * 1000)
        assert set(codes(cli)) & {"PT091"} == found, (silent, age)


def test_many_silent_workers_are_not_all_listed(store, client, cli):
    """Seven sessions hold runs that nobody renews since 20 s; some have another T than the usual one."""
    now = client.time()[0]
    with redis.Redis.from_url(store.url) as plain:
        for n in range(7):
            RedisStore(plain, Keys()).announce(
                WorkerInfo(
                    session=f"s{n}",
                    name=f"w{n}",
                    host="h",
                    pid=n,
                    running=1,
                    expiry=90.0 - 45 * (n == 1),
                    protocol=PROTOCOL,
                )
            )
            client.hset(f"t{n}", mapping={"function": "f", "state": "RUNNING", "run": f"s{n}:1"})
            client.hset("pytask:runs", f"t{n}", f"s{n}:1")
    client.zadd("pytask:leases", {f"t{n}": (now - 20) * 1_000_000 for n in range(7)})
    client.zadd("pytask:monitors", {"m": now})
    assert codes(cli) == {}  # they still show themselves
    client.zadd("pytask:workers", {f"s{n}": now - 20 for n in range(7)})
    shown = cli("doctor", "-o", "json")
    found = [item["what"] for item in json.loads(shown.stdout)["items"]]
    assert shown.exit_code == 0
    assert len(found) == 6
    assert re.fullmatch(
        r"worker w0 has been silent for 2\ds and owns 1 run: its task is requeued after 90 s", found[0]
    )
    assert found[1].endswith("after 45 s")
    assert found[5] == "and 2 more workers are silent, and own runs"
    client.zadd("pytask:monitors", {"m": now - 40})  # it has gone with them
    found = json.loads(cli("doctor", "-o", "json").stdout)["items"]
    alone = next(item for item in found if item["code"] == "PT097")
    assert alone["what"].endswith("after 90 s, but only by a worker with a monitor, and none runs")
    assert alone["fix"].endswith("; if not, start a worker with a monitor: pytask run TARGET")
    with redis.Redis.from_url(store.url) as plain:  # one that has no monitor
        RedisStore(plain, Keys()).announce(WorkerInfo(session="x", name="x", host="h", pid=9, running=0))
    client.zadd("pytask:monitors", {"m": now - 40})
    items = json.loads(cli("doctor", "-o", "json").stdout)["items"]
    assert any(item["what"].endswith("by a worker with a monitor, and none runs") for item in items)


def test_a_worker_of_another_release(store, client, cli):
    newer = WorkerInfo(session="s", name="newer", host="h", pid=7, running=0, version="9.1")
    with redis.Redis.from_url(store.url) as plain:
        RedisStore(plain, Keys()).announce(newer)
    found = codes(cli)
    assert set(found) == {"PT093", "PT094"}
    assert "newer run pytask 9.1" in found["PT094"]["what"]


def test_failed_tasks_are_reported_and_do_not_make_it_unhealthy(client, cli):
    client.hset("bad 1", mapping={"function": "f", "state": "ERROR", "error": "E"})
    client.zadd("pytask:index:ERROR", {"bad 1": client.time()[0]})
    client.zadd("pytask:monitors", {"m": client.time()[0]})
    found = codes(cli)
    assert set(found) == {"PT142"}
    assert found["PT142"]["what"] == "1 task failed, and is in ERROR; the last is bad 1 (f)"
    assert found["PT142"]["fix"].startswith("pytask why 'bad 1'    ")
    assert cli("requeue", "--all", "-y").exit_code == 0  # as `pytask explain PT142` says
    assert "PT142" not in codes(cli)


def test_a_place_where_nothing_is_names_one_where_something_is(store, client, cli):
    client.zadd("app:pytask:workers", {"s": client.time()[0]})
    client.lpush("new-task", "t")
    (found,) = (item for code, item in codes(cli, "--redis", f"redis://{store.host}:{store.port}/5").items())
    assert found["code"] == "PT143"
    assert found["what"].endswith("there are some in db 0")
    assert found["fix"].startswith(f"pytask doctor --redis redis://{store.host}:{store.port}/0    ")
    client.delete("new-task")
    (found,) = codes(cli).values()
    assert found["fix"].startswith("pytask doctor --namespace app:    ")
    (found,) = codes(cli, "--namespace", "ap:").values()
    assert found["fix"].startswith("pytask doctor --namespace app:    ")
    assert "PT143" not in codes(cli, "--namespace", "app:")


def test_a_worker_that_waits_after_a_change_of_server_says_so(store, client, cli):
    worker = WorkerInfo(
        session="s", name="w1", host="h", pid=7, running=1, held=40.0, embargo=62.0, protocol=PROTOCOL
    )
    with redis.Redis.from_url(store.url) as plain:
        RedisStore(plain, Keys()).announce(worker)
    client.zadd("pytask:monitors", {"m": client.time()[0]})
    shown = cli("doctor")
    assert shown.exit_code == 0  # it is over soon, without anybody
    assert "PT055  another server answered w1" in shown.stdout
    assert "1m2s it claims no tasks" in " ".join(shown.stdout.split())
    assert "PT132" not in shown.stdout  # what it does not send is no matter of size


def test_the_number_of_problems_and_notes_is_that_of_the_findings(store, client, cli):
    client.hset("bad", mapping={"function": "f", "state": "ERROR", "error": "boom"})
    client.zadd("pytask:index:ERROR", {"bad": client.time()[0]})
    shown = cli("doctor")
    assert shown.exit_code == 3  # there was never a monitor
    assert "1 problem and 1 note found" in shown.stderr


def test_a_task_that_outlives_its_stop_is_named(store, client, cli):
    worker = WorkerInfo(
        session="s", name="w1", host="h", pid=7, running=1, stuck=("deaf-1",), protocol=PROTOCOL
    )
    with redis.Redis.from_url(store.url) as plain:
        RedisStore(plain, Keys()).announce(worker)
    client.zadd("pytask:monitors", {"m": client.time()[0]})
    found = codes(cli)
    assert set(found) == {"PT042"}
    assert found["PT042"]["what"] == "w1 has 1 task that does not stop: deaf-1"
    assert "kill -USR1 7 on h" in found["PT042"]["fix"]


# -- not there, not allowed, interrupted -------------------------------------------------------------------


@pytest.mark.parametrize("words", [["ls"], ["status"], ["show", "x"], ["doctor"], ["workers"]])
def test_a_wrong_address_answers_soon_and_says_where_it_came_from(cli, words):
    url = f"redis://:sesame@127.0.0.1:{free_port()}/0"
    shown = cli(*words, "--redis", url)
    assert (shown.exit_code, shown.stdout) == (69, "")
    assert "[PT051]" in shown.stderr
    assert "(from --redis)" in shown.stderr
    assert "sesame" not in shown.stderr


class Shell(socketserver.BaseRequestHandler):
    """One that speaks first."""

    def handle(self):
        self.request.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
        self.request.recv(4096)


class Web(socketserver.BaseRequestHandler):
    """An HTTP server that says at length what it thinks of the request."""

    def handle(self):
        self.request.recv(4096)
        self.request.sendall(b"HTTP/1.1 400 Bad Request: " + b"x" * 300 + b"\r\nServer: nginx\r\n\r\n")


@pytest.mark.parametrize(
    ("handler", "says"),
    [(Shell, "'SSH-2.0-OpenSSH_9.2'"), (Web, f"'HTTP/1.1 400 Bad Request: {'x' * 34}…'")],
    ids=["ssh", "http"],
)
@pytest.mark.parametrize("words", [["status"], ["ls"], ["new", "f"], ["doctor"]], ids=lambda words: words[0])
def test_a_port_that_answers_and_is_no_redis(cli, monkeypatch, words, handler, says):
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"redis://:sesame@127.0.0.1:{server.server_address[1]}/0"
        monkeypatch.setenv("PYTASK_REDIS_URL", url)
        shown = cli(*words)
        server.shutdown()
    assert (shown.exit_code, shown.stdout) == (69, "")
    assert f"[PT051] the server at this address is not Redis: it answers {says}" in shown.stderr
    assert "Correct the address" in shown.stderr
    assert f"server: {url.replace(':sesame', '***')} (from $PYTASK_REDIS_URL)" in shown.stderr
    assert "sesame" not in shown.stderr


def test_a_server_that_does_not_answer_is_given_up_soon(cli, monkeypatch):
    monkeypatch.delenv("PYTASK_TIMEOUT")
    with start_server("valkey") as server:
        server.freeze()
        try:
            began = time.monotonic()
            shown = cli("status", "--redis", server.url)
            took = time.monotonic() - began
        finally:
            server.thaw()
    assert shown.exit_code == 69
    assert "[PT051]" in shown.stderr
    assert took < 8  # 0.8 s on a machine of one's own


def test_a_wrong_password_and_a_missing_right(cli):
    with start_server("valkey", password="right") as server:
        shown = cli("status", "--redis", f"redis://:wrong-73@{server.host}:{server.port}/0")
        assert shown.exit_code == 78
        assert "[PT053]" in shown.stderr
        assert "wrong-73" not in shown.stderr
        assert cli("status", "--redis", server.url).exit_code == 0


@pytest.mark.parametrize("words", [["ls", "-w"], ["top", "--every", "0.2"]], ids=" ".join)
def test_ctrl_c_on_a_terminal_is_clean_and_the_table_has_colours(store, fleet, words):
    """On a real terminal: what is drawn again and again ends with 130 and no traceback."""
    leader, follower = pty.openpty()
    env = environment(PYTASK_REDIS_URL=store.url, TERM="xterm", COLUMNS="120", LINES="40")
    env.pop("NO_COLOR", None)
    child = subprocess.Popen(
        pytask(*words), stdin=follower, stdout=follower, stderr=follower, env=env, start_new_session=True
    )
    os.close(follower)
    os.set_blocking(leader, False)
    seen = bytearray()

    def shown(text, times):
        with contextlib.suppress(OSError):  # nothing to read, or nobody there any more
            while chunk := os.read(leader, 65536):
                seen.extend(chunk)
        return seen.count(text) >= times

    try:
        until(lambda: shown(b"RUNNING", 2), lambda: bytes(seen))
        child.send_signal(signal.SIGINT)
        # Read on: it could not leave while nobody takes what it draws.
        until(lambda: shown(b"", 0) and child.poll() is not None, lambda: bytes(seen))
        shown(b"", 0)
        assert child.returncode == 130, bytes(seen)
    finally:
        child.kill()
        child.wait()
        os.close(leader)
    text = seen.decode(errors="replace")
    assert "Traceback" not in text
    assert "Aborted" not in text
    assert "\x1b[" in text


def test_no_colour_where_it_is_not_wanted(store, client, cli):
    push(client, "f", "one")
    script = f"""
        import os, pty, sys
        os.environ.update(NO_COLOR="1", TERM="xterm", PYTASK_REDIS_URL="{store.url}", PYTASK_TIMEOUT="5")
        sys.exit(os.waitstatus_to_exitcode(pty.spawn([sys.executable, "-m", "pytask", "ls"])))
    """
    shown = done([sys.executable, "-c", "\n".join(line.strip() for line in script.splitlines())])
    assert shown.returncode == 0
    assert "\x1b" not in shown.stdout
    assert shown.stdout.split()[:2] == ["ID", "STATE"]


def test_ctrl_c_before_anything_is_imported():
    """The guard is set by the very first lines; a signal then ends with 130 and says nothing."""
    script = """
        import os, signal, sys
        from pytask.daemon.interrupt import guard_imports
        guard_imports()
        os.kill(os.getpid(), signal.SIGINT)
        while True: pass
    """
    shown = done([sys.executable, "-c", "\n".join(line.strip() for line in script.splitlines())])
    assert (shown.returncode, shown.stderr) == (130, "")
