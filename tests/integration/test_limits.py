"""Limits with real processes: what happened is counted by the tasks themselves, outside Redis."""

import json
import re
import signal
import time

import pytest

from tests.support.cli_tools import Started, pytask, until, write

pytestmark = pytest.mark.slow

TASKS = """
    import os
    import time

    import gevent

    from pytask import Monitor, PyTask, Task

    class Session(Task):
        class Config:
            NAME = "session"
            GROUP_LIMIT = 1
        def start(self):
            path = f"log-{self.task_data['g']}"
            def say(word):
                file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
                os.write(file, f"{word} {self.id} {time.time():.3f}\\n".encode())
                os.close(file)
            say("in")
            gevent.sleep(self.task_data.get("for", 0.02))
            say("out")

    app = PyTask()
    app.add_task(Session)
    app.add_task(Monitor)
    app.pre_start_task("pytask/monitor")
"""
SCALE = "0.2"


def run(store, folder, name):
    words = ("run", "tasks.py:app", "--redis", store.url, "--name", name, "--time-scale", SCALE)
    return Started(pytask(*words), folder, folder)


def log_of(folder, group):
    path = folder / f"log-{group}"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def most_at_once(lines):
    inside, most = set(), 0
    for word, task_id, _ in lines:
        (inside.add if word == "in" else inside.discard)(task_id)
        most = max(most, len(inside))
    return most


def doctor(cli):
    return {item["code"]: item for item in json.loads(cli("doctor", "-o", "json").stdout)["items"]}


def push(client, task_id, group, **data):
    text = json.dumps({"g": group, **data})
    client.hset(task_id, mapping={"function": "session", "data": text, "group": group})
    client.lpush("new-task", task_id)


def test_three_workers_never_run_two_of_a_group(store, client, tmp_path):
    write(tmp_path / "tasks.py", TASKS)
    with (
        run(store, tmp_path, "w1") as first,
        run(store, tmp_path, "w2") as second,
        run(store, tmp_path, "w3"),
    ):
        until(lambda: client.zcard("pytask:workers") == 3, lambda: first.output + second.output)
        for n in range(300):
            push(client, f"t{n}", n % 5)
        until(lambda: sum(len(log_of(tmp_path, g)) for g in range(5)) == 600, lambda: first.output)
    for group in range(5):
        lines = log_of(tmp_path, group)
        assert most_at_once(lines) == 1
        order = [int(task_id[1:]) for word, task_id, _ in lines if word == "in"]
        # As they were pushed, but for batches that two workers claim at the same time.
        assert all(abs(5 * at + group - number) <= 150 for at, number in enumerate(order))
    assert client.keys("pytask:slot*") == []
    assert client.hlen("pytask:runs") == 0


def test_a_killed_holder_frees_its_slot_with_the_expiry_of_its_run(store, client, tmp_path):
    write(tmp_path / "tasks.py", TASKS)
    with run(store, tmp_path, "dies") as first:
        push(client, "a", "x", **{"for": 1000})
        until(lambda: log_of(tmp_path, "x"), lambda: first.output)
        with run(store, tmp_path, "lives") as second:
            push(client, "b", "x")
            until(lambda: client.zscore("pytask:group:group:x", "b"), lambda: second.output)
            renewed = client.zscore("pytask:leases", "a") / 1e6
            first.process.send_signal(signal.SIGKILL)
            until(lambda: len(log_of(tmp_path, "x")) >= 2, lambda: second.output, 60)
            word, task_id, at = log_of(tmp_path, "x")[1]
            assert (word, task_id) == ("in", "b")
            expiry = 90 * float(SCALE)
            # Not before the expiry of the run, and about as soon as a monitor may requeue it.
            assert expiry - 5 * float(SCALE) - 1 <= float(at) - renewed <= expiry + 25 * float(SCALE) + 5
            until(lambda: client.smembers("pytask:slots:group:x") <= {"a"}, lambda: second.output)


def test_limits_are_set_live_from_the_command_line(store, client, cli, tmp_path):
    write(tmp_path / "tasks.py", TASKS)
    with run(store, tmp_path, "w1") as worker:
        until(lambda: client.zcard("pytask:workers"), lambda: worker.output)
        assert cli("limits", "set", "0", "--group", "x").exit_code == 0
        made = cli("new", "session", "g=x", "--group", "x").stdout.strip()
        until(lambda: client.zcard("pytask:group:group:x") == 1, lambda: worker.output)
        (row,) = cli.json("limits", "ls")["items"]
        assert (row["entry"], row["limit"], row["live"], row["waiting"]) == ("group:x", 0, 0, 1)
        why = cli("why", made).stdout
        assert "it waits for a slot of group `x`, which has 0 runs (at most 0)" in why
        assert "pytask limits set N --group x" in why
        assert cli.json("status")["limited"] == 1
        assert cli.json("show", made)["group"] == "x"
        shown = cli("limits", "show", "--group", "x").stdout
        assert made in shown
        assert cli("limits", "rm", "--group", "x").exit_code == 0
        until(lambda: client.hget(made, "state") == "ENDED", lambda: worker.output)
    assert cli("limits", "set", "1").exit_code == 2
    assert cli("limits", "set", "many", "--group", "x").exit_code == 2
    assert cli("new", "session", "--group", "x" * 257).exit_code == 2
    assert "HSET pytask:limits group:x 3" in cli("limits", "set", "3", "--group", "x", "--explain").stdout


def test_a_group_that_cannot_be_used_becomes_an_error_with_the_fix(store, client, tmp_path):
    write(tmp_path / "tasks.py", TASKS)
    with run(store, tmp_path, "w1") as worker:
        push(client, "a", "x" * 10_000)
        until(lambda: client.hget("a", "state") == "ERROR", lambda: worker.output)
    assert re.search(r"its group is too long \(10000 bytes; at most 256", client.hget("a", "error"))
    assert "HSET <task_id> group <text>" in client.hget("a", "error")


def test_a_limit_set_by_redis_cli_is_noticed(store, client, tmp_path):
    write(tmp_path / "tasks.py", TASKS)
    client.hset("pytask:limits", "group:x", 0)
    with run(store, tmp_path, "w1") as worker:
        push(client, "a", "x")
        until(lambda: client.zcard("pytask:group:group:x") == 1, lambda: worker.output)
        client.hset("pytask:limits", "group:x", 1)
        until(lambda: client.hget("a", "state") == "ENDED", lambda: worker.output)


def test_doctor_names_a_limit_that_is_no_number(store, client, cli):
    client.hset("pytask:limits", "group:x", "many")
    found = doctor(cli)["PT170"]
    assert "'many', which is not a whole number" in found["what"]
    assert "HSET pytask:limits group:x N" in found["fix"]
    client.hset("pytask:limits", "group:x", 1)
    assert "PT170" not in doctor(cli)


@pytest.mark.parametrize(
    ("name", "reason", "meant"),
    [
        ("groups:x", "it names neither a group nor a function (did you mean 'group:x'?)", "group"),
        ("function:*", "'*' stands for groups only, and no limit is that of all functions", "function"),
        (
            "group:" + "x" * 300,
            "no task can have this group: it has 300 bytes, and at most 256 are allowed",
            "group",
        ),
        ("session", "it names neither a group nor a function", "function"),
    ],
)
def test_doctor_names_an_entry_that_limits_nothing(store, client, cli, name, reason, meant):
    client.hset("pytask:limits", name, 1)
    found = doctor(cli)["PT176"]
    assert f"the entry {name[:80]!r} of 'pytask:limits' limits nothing: {reason}" in found["what"]
    assert cli("limits", "set", "1", f"--{meant}", "session").exit_code == 0
    assert "HDEL pytask:limits " in found["fix"]
    assert name in found["fix"]
    client.hdel("pytask:limits", name)
    assert "PT176" not in doctor(cli)


def test_doctor_names_a_limit_of_a_function_that_no_worker_knows(store, client, cli):
    from pytask.domain.version import __version__

    assert cli("limits", "set", "1", "--function", "sesion").exit_code == 0
    assert "PT177" not in doctor(cli), "no worker is running: nobody can know"
    info = {"session": "s", "name": "w", "version": __version__, "protocol": "1.1", "functions": ["session"]}
    client.hset("pytask:workers:info", "s", json.dumps(info))
    client.zadd("pytask:workers", {"s": client.time()[0]})
    found = doctor(cli)["PT177"]
    assert "function 'sesion', and no running worker knows it (did you mean 'session'?)" in found["what"]
    assert "pytask limits rm --function sesion" in found["fix"]
    said = cli("limits", "set", "1", "--function", "sesion")
    assert "no running worker knows 'sesion'; did you mean 'session'? The limit counts as soon" in said.stderr
    assert cli("limits", "rm", "--function", "sesion").exit_code == 0
    assert cli("limits", "set", "1", "--function", "session").exit_code == 0
    assert "PT177" not in doctor(cli)


def test_doctor_says_that_each_partition_has_a_limit_for_itself(store, client, cli):
    def found():
        said = json.loads(cli("doctor", "-o", "json", "--partitions", "2").stdout)["items"]
        return [item["what"] for item in said if item["code"] == "PT178"]

    client.hset("{0}:pytask:limits", "group:x", 1)
    assert found() == ["the limit of 'group:x' is not the same in all partitions: 1 in 0, none in 1"]
    assert cli("limits", "set", "1", "--group", "x", "--partitions", "2").exit_code == 0
    (what,) = found()
    assert "each of the 2 partitions has a limit for itself ('group:x': 1, so 2 x 1 in all)" in what
    assert cli("limits", "set", "0", "--group", "x", "--partitions", "2").exit_code == 0
    assert found() == [], "nothing is nothing in each of them"
    assert "PT178" not in doctor(cli)


def test_one_bound_and_one_error_for_a_limit(store, client, cli):
    """What redis-cli may write is what the client, a class and the command line take."""
    most, more = "9" * 10, "1" + "0" * 10
    assert cli("limits", "set", most, "--group", "x").exit_code == 0
    assert "PT170" not in doctor(cli)
    for words in ([], ["--explain"]):
        refused = cli("limits", "set", more, "--group", "x", *words)
        assert refused.exit_code != 0
        assert "a whole number of at most 10 digits, from 0 to 9999999999" in refused.stderr
    assert client.hget("pytask:limits", "group:x") == most
    client.hset("pytask:limits", "group:x", more)
    assert "which is not a whole number of at most 10 digits" in doctor(cli)["PT170"]["what"]


def test_doctor_names_slots_without_runs(store, client, cli):
    client.hset("pytask:limits", "group:x", 1)
    client.sadd("pytask:slots:group:x", "gone")
    assert "1 slot of 'group:x' belongs to no run: gone" in doctor(cli)["PT171"]["what"]
    client.delete("pytask:slots:group:x")
    assert "PT171" not in doctor(cli)


def test_doctor_names_more_runs_than_the_limit(store, client, cli):
    client.hset("pytask:limits", "group:x", 1)
    client.sadd("pytask:slots:group:x", "a", "b")
    client.hset("pytask:runs", mapping={"a": "s:1", "b": "s:2"})
    assert "'group:x' has 2 runs, and its limit is 1" in doctor(cli)["PT172"]["what"]
    client.srem("pytask:slots:group:x", "b")
    assert "PT172" not in doctor(cli)


def test_doctor_names_a_worker_that_knows_no_limits(store, client, cli):
    from pytask.domain.version import __version__

    client.hset("pytask:limits", "group:x", 1)
    info = {"session": "s", "name": "elder", "version": __version__, "protocol": "1.0"}
    client.hset("pytask:workers:info", "s", json.dumps(info))
    client.zadd("pytask:workers", {"s": time.time()})
    assert "elder does not support them" in doctor(cli)["PT173"]["what"]
    client.hset("pytask:workers:info", "s", json.dumps(info | {"protocol": "1.1"}))
    assert "PT173" not in doctor(cli)
