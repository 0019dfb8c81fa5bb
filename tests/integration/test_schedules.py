"""Schedules as people use them: in code, with the command line, with redis-cli; and what the doctor says."""

import json
import signal
import time

import pytest

from pytask.domain.partition import namespace_of, partition_of
from pytask.domain.schedules import NEVER
from tests.support.cli_tools import Started, pytask, sent_by, typed, until, write

pytestmark = pytest.mark.slow

TASKS = """
    from pathlib import Path
    from pytask import Monitor, PyTask, Task

    class Beat(Task):
        class Config:
            NAME = "beat"
        def start(self):
            with open("beats", "a") as file:
                file.write(f"{self.id} {self.task_data}\\n")

    app = PyTask()
    app.add_task(Monitor)
    app.pre_start_task("pytask/monitor")
    app.every(1, Beat, {"n": 1}, overlap="allow", missed="all")
    app.cron("0 3 * * *", Beat, tz="Europe/Berlin", name="nightly")
"""


def run(store, tmp_path, *words):
    return Started(pytask("run", "tasks.py:app", "--redis", store.url, *words), tmp_path, tmp_path)


def beats(tmp_path):
    file = tmp_path / "beats"
    return [line.split()[0] for line in file.read_text().splitlines()] if file.exists() else []


def doctor(cli):
    return {item["code"]: item for item in json.loads(cli("doctor", "-o", "json").stdout)["items"]}


def now_ms(client):
    seconds, micros = client.time()
    return seconds * 1000 + micros // 1000


def test_in_code_each_second_once_whoever_dies(store, client, tmp_path):
    write(tmp_path / "tasks.py", TASKS)
    with run(store, tmp_path, "--name", "w1") as first, run(store, tmp_path, "--name", "w2") as second:
        until(lambda: len(beats(tmp_path)) >= 3, lambda: first.output + second.output)
        first.process.send_signal(signal.SIGKILL)
        known = len(beats(tmp_path))
        until(lambda: len(beats(tmp_path)) >= known + 3, lambda: second.output)
        second.process.send_signal(signal.SIGKILL)
        second.process.wait(10)
    time.sleep(2.5)  # nobody is there
    with run(store, tmp_path, "--name", "w3") as third:
        known = len(beats(tmp_path))
        until(lambda: len(beats(tmp_path)) >= known + 5, lambda: third.output)
    ids = beats(tmp_path)
    assert len(set(ids)) == len(ids)
    lines = [json.loads(line) for line in client.lrange("pytask:occurrences:beat", 0, -1)]
    times = sorted(line["at"] for line in lines)
    assert times == list(range(times[0], times[-1] + 1, 1000))
    assert {line["id"] for line in lines} >= set(ids)
    assert client.hgetall("pytask:schedule:nightly") == {
        "function": "beat", "cron": "0 3 * * *", "tz": "Europe/Berlin", "origin": "code",
    }  # fmt: skip
    assert client.zscore("pytask:schedules", "nightly") > now_ms(client)


def test_after_flushall_what_the_code_defines_comes_back_and_the_loss_is_said(store, client, tmp_path):
    """At once by a worker that starts then; by one that was there when no forgotten run can be left."""
    write(tmp_path / "tasks.py", TASKS)

    def monitors():
        found = [client.hgetall(key) for key in client.scan_iter() if client.type(key) == "hash"]
        return [one["local"] for one in found if one.get("function") == "pytask/monitor"]

    with run(store, tmp_path, "--name", "w1") as first:
        until(lambda: len(beats(tmp_path)) >= 2 and monitors(), lambda: first.output)
        client.hset("pytask:schedule:mine", mapping={"function": "beat", "every": "3600"})
        client.zadd("pytask:schedules", {"mine": 0})
        client.flushall()
        known = len(beats(tmp_path))
        with run(store, tmp_path, "--name", "w2") as second:
            until(lambda: len(beats(tmp_path)) >= known + 3, lambda: first.output + second.output)
            until(lambda: len(set(monitors())) == 2, lambda: first.output + second.output)
            until(lambda: "lost its data" in first.output, lambda: first.output)
            assert "lost its data" not in second.output  # it cannot know
        assert set(client.zrange("pytask:schedules", 0, -1)) == {"beat", "nightly"}
    ids = beats(tmp_path)
    assert len(set(ids)) == len(ids)


def test_redis_cli_alone_makes_a_schedule(store, client, cli, tmp_path):
    write(tmp_path / "tasks.py", TASKS.replace("    app.every", "    # app.every"))
    with run(store, tmp_path) as daemon:
        until(lambda: client.zcard("pytask:workers"), lambda: daemon.output)
        lines = """
            redis-cli HSET pytask:schedule:mine function beat every 1 data '{"n": 2}'
            redis-cli ZADD pytask:schedules 0 mine
            redis-cli HSET pytask:schedule:bad function beat cron '0 0 30 2 *'
            redis-cli ZADD pytask:schedules 0 bad
        """
        typed(lines, store, tmp_path)
        until(lambda: beats(tmp_path).count("mine") >= 2, lambda: daemon.output)
        until(lambda: client.hget("pytask:schedule:bad", "error"), lambda: daemon.output)
        assert "[PT155]" in daemon.output
        found = doctor(cli)
    assert "never comes" in found["PT155"]["what"]
    assert "PT158" not in found


# -- the command line ---------------------------------------------------------------------------------


def test_the_command_line(client, cli):
    shown = cli(
        "schedule", "add", "nightly", "report", "n=5", "--cron", "30 2 * * *", "--tz", "Europe/Berlin"
    )
    assert (shown.exit_code, shown.stdout) == (0, "nightly\n")
    assert shown.stderr.splitlines()[0] == "pytask: At 02:30 every day, Europe/Berlin; the next times:"
    assert len(shown.stderr.splitlines()) == 7  # the last one: no worker knows `report`
    assert cli("schedule", "add", "often", "poll", "--every", "1m30s", "--overlap", "queue").exit_code == 0
    assert client.hgetall("pytask:schedule:often") == {
        "function": "poll", "every": "90", "overlap": "queue", "origin": "client",
    }  # fmt: skip
    assert client.hget("pytask:schedule:nightly", "data") == '{"n":5}'
    rows = {item["name"]: item for item in cli.json("schedule", "ls")["items"]}
    assert rows["nightly"]["when"] == "At 02:30 every day, Europe/Berlin"
    assert rows["often"]["when"] == "every 1m30s"
    table = cli("schedule", "ls").stdout.splitlines()
    assert table[0].split() == ["NAME", "FUNCTION", "WHEN", "NEXT", "LAST", "FIRES", "STATE"]
    assert "nightly\n" in cli("schedule", "ls", "-o", "id").stdout
    assert "more schedules follow" in cli("schedule", "ls", "-l", 1).stderr
    assert cli("schedule", "pause", "nightly").stdout == "nightly  paused\n"
    assert "was paused already" in cli("schedule", "pause", "nightly").stdout
    assert "its occurrences are skipped" in cli("schedule", "show", "nightly").stdout
    assert cli("schedule", "resume", "nightly").stdout == "nightly  resumed\n"
    assert cli("schedule", "rm", "nightly").stdout == "nightly  removed\n"


def test_the_command_line_names_what_a_newcomer_overlooks(client, cli):
    shown = cli("schedule", "add", "nightly", "report", "--every", "1d")
    assert "no running worker knows 'report'. The task waits until one does." in shown.stderr
    shown = cli("why", "nightly")
    assert (shown.exit_code, "the schedule 'nightly' has no task" in shown.stderr) == (4, True)


def test_show_tells_the_next_times_and_what_became_of_past_ones(client, cli):
    cli("schedule", "add", "s", "f", "--cron", "0 3 * * *", "--tz", "Europe/Berlin")
    day = 86400_000
    client.zadd("pytask:schedules", {"s": 1796004000000})  # 2026-11-30T02:00Z
    for line in (
        {"at": 1795917600000 - 5 * day, "reason": "late", "until": 1795917600000 - 3 * day, "count": 3},
        {"at": 1795917600000 - 2 * day, "reason": "overlap"},
        {"at": 1795917600000 - day, "id": "s"},
    ):
        client.lpush("pytask:occurrences:s", json.dumps(line))
    text = cli("schedule", "show", "s").stdout
    assert "Mon 2026-11-30 03:00:00 CET  (" in text
    assert text.count(" 03:00:00 CET  (") == 5
    assert "Sat 2026-11-28 03:00:00 CET  started s\n" in text
    assert "skipped: overlap (the last run had not ended)" in text
    assert "3 skipped: late (no worker could start it in time)" in text
    record = cli.json("schedule", "show", "s")
    assert record["upcoming"][0] == 1796004000
    assert [one["reason"] for one in record["occurrences"]] == ["", "overlap", "late"]


def test_no_such_schedule(cli):
    for verb in ("show", "pause", "resume", "rm"):
        shown = cli("schedule", verb, "none")
        assert shown.exit_code == 4
        assert "[PT156]" in shown.stderr
        assert "pytask schedule ls" in shown.stderr


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--cron", "0 0 30 2 *"], "never comes"),
        (["--cron", "* * * * *", "--tz", "Europe/Berln"], "did you mean Europe/Berlin"),
        (["--every", "soon"], "not a duration"),
        (["--every", "0"], "every '0'"),
        ([], "neither every nor cron"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(client, cli, words, text):
    for more in ([], ["--explain"]):
        shown = cli("schedule", "add", "s", "f", *words, *more)
        assert shown.exit_code == 2
        assert text in shown.stderr
    assert not client.keys("*")


def test_what_explain_prints_does_the_same(store, client, cli, tmp_path):
    def by_hand(*words):
        typed(cli("schedule", *words, "--explain").stdout, store, tmp_path)

    by_hand("add", "s", "f", "n=5", "--every", "60")
    assert client.hgetall("pytask:schedule:s") == {"function": "f", "every": "60", "data": '{"n":5}'}
    assert client.zscore("pytask:schedules", "s") == 0
    by_hand("add", "s", "f", "--cron", "* * * * *")
    assert client.hgetall("pytask:schedule:s") == {"function": "f", "cron": "* * * * *", "tz": "UTC"}
    by_hand("pause", "s")
    assert cli.json("schedule", "show", "s")["paused"] is True
    by_hand("resume", "s")
    assert cli.json("schedule", "show", "s")["paused"] is False
    by_hand("show", "s")
    by_hand("ls")
    by_hand("rm", "s")
    assert not client.keys("*")


# -- the doctor ---------------------------------------------------------------------------------------


def test_a_bad_schedule_is_reported_with_its_fix(client, cli):
    client.hset("pytask:schedule:s", mapping={"function": "f", "every": "soon", "error": "every 'soon'"})
    client.zadd("pytask:schedules", {"s": NEVER})
    found = doctor(cli)["PT155"]
    assert "every 'soon'" in found["what"]
    client.hset("pytask:schedule:s", "every", "60")
    client.execute_command(*sent_by(found["fix"].removeprefix("correct its hash, then ")))
    assert "PT155" not in doctor(cli)


def test_what_no_worker_has_met_yet_stops_no_check(client, cli):
    client.hset("pytask:schedule:s", mapping={"function": "f", "cron": "no"})
    client.zadd("pytask:schedules", {"s": now_ms(client) + 10**9})
    client.hset("pytask:schedule:late", mapping={"function": "f", "every": "60"})
    client.zadd("pytask:schedules", {"late": now_ms(client) + 10**9})
    assert "late" in doctor(cli)["PT160"]["what"]


def test_a_name_that_can_be_no_id_stops_no_check(client, cli):
    client.zadd("pytask:schedules", {b"\xff": NEVER})
    assert "'\\udcff'" in doctor(cli)["PT155"]["what"]


def test_an_overdue_schedule(store, client, cli, tmp_path):
    client.hset("pytask:schedule:s", mapping={"function": "beat", "every": "3600"})
    client.zadd("pytask:schedules", {"s": now_ms(client) - 120_000})
    assert "s for 2m: no worker is running" in doctor(cli)["PT161"]["what"]
    write(tmp_path / "tasks.py", TASKS)
    with run(store, tmp_path) as daemon:
        until(lambda: client.llen("pytask:occurrences:s"), lambda: daemon.output)
        assert "PT161" not in doctor(cli)


def test_a_time_that_is_too_late(client, cli):
    client.hset("pytask:schedule:s", mapping={"function": "f", "every": "60"})
    client.zadd("pytask:schedules", {"s": now_ms(client) + 10**9})
    found = doctor(cli)["PT160"]
    assert found["serious"] is False
    client.execute_command(*sent_by(found["fix"]))
    assert "PT160" not in doctor(cli)


def test_a_schedule_that_two_programs_define_differently(store, client, cli, tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    for folder, seconds in ((one, 3600), (other, 7200)):
        folder.mkdir()
        write(folder / "tasks.py", TASKS.replace("app.every(1,", f"app.every({seconds},"))
    with run(store, one) as first, run(store, other) as second:
        until(lambda: "PT175" in doctor(cli), lambda: (first.output, second.output))
        found = doctor(cli)["PT175"]
        assert found["what"].startswith("schedule beat is defined differently by workers ")
        assert not found["serious"]
    with run(store, one) as first, run(store, one) as second:
        until(lambda: client.zcard("pytask:workers") == 2, lambda: (first.output, second.output))
        assert "PT175" not in doctor(cli)


def test_a_schedule_that_vanished_from_all_code(store, client, cli, tmp_path):
    write(tmp_path / "tasks.py", TASKS)
    client.hset("pytask:schedule:old", mapping={"function": "beat", "every": "3600", "origin": "code"})
    client.zadd("pytask:schedules", {"old": 0})
    assert "PT157" not in doctor(cli)  # without a worker nothing is known
    with run(store, tmp_path) as daemon:
        until(lambda: client.zcard("pytask:workers"), lambda: daemon.output)
        until(lambda: "PT157" in doctor(cli), lambda: daemon.output)
        found = doctor(cli)["PT157"]
        assert ": old. It still starts tasks" in found["what"]
        assert cli("schedule", "rm", "old").exit_code == 0
        assert "PT157" not in doctor(cli)


def test_a_schedule_of_an_unknown_function(store, client, cli, tmp_path):
    write(tmp_path / "tasks.py", TASKS)
    with run(store, tmp_path) as daemon:
        until(lambda: client.zcard("pytask:workers"), lambda: daemon.output)
        assert cli("schedule", "add", "odd", "baet", "--every", "1").exit_code == 0
        until(lambda: client.smembers("pytask:parked") == {"baet"}, lambda: daemon.output)
        until(lambda: "overlap" in (client.lindex("pytask:occurrences:odd", 0) or ""), lambda: daemon.output)
        assert "schedule odd starts 'baet', which no worker knows" in doctor(cli)["PT158"]["what"]
        assert cli("schedule", "add", "odd", "beat", "--every", "1").exit_code == 0
        assert "PT158" not in doctor(cli)


def test_which_time_zone_data_is_read(client, cli, store, tmp_path, monkeypatch):
    cli("schedule", "add", "s", "beat", "--cron", "0 3 * * *")
    assert "PT159" not in doctor(cli)
    cli("schedule", "add", "t", "beat", "--cron", "0 3 * * *", "--tz", "Europe/Berlin")
    found = doctor(cli)["PT159"]
    assert found["serious"] is False
    assert "this machine reads " in found["what"]
    assert "PYTHONTZPATH=''" in found["fix"]
    write(tmp_path / "tasks.py", TASKS)
    with Started(
        pytask("run", "tasks.py:app", "--redis", store.url), tmp_path, tmp_path, PYTHONTZPATH=""
    ) as daemon:
        until(lambda: client.zcard("pytask:workers"), lambda: daemon.output)
        until(lambda: "workers read " in doctor(cli)["PT159"]["what"], lambda: daemon.output)
        assert "(package tzdata)" in doctor(cli)["PT159"]["what"]


def test_with_partitions_each_schedule_is_in_the_one_of_its_name(store, client, cli, tmp_path):
    more = "".join(f'    app.every(1, "beat", overlap="allow", name="s{n}")\n' for n in range(6))
    write(tmp_path / "tasks.py", TASKS + more)
    where = ["--namespace", "app:", "--partitions", "3"]
    with run(store, tmp_path, *where) as daemon:
        seen = until(
            lambda: (
                {f"s{n}" for n in range(6)} <= (found := {i.partition("@")[0] for i in beats(tmp_path)})
                and found
            ),
            lambda: daemon.output,
        )
        assert seen >= {"beat"}
    for number in range(6):
        space = namespace_of("app:", partition_of(f"s{number}", 3), 3)
        assert client.exists(f"{space}pytask:schedule:s{number}")
    shown = cli.json("schedule", "ls", *where)["items"]
    assert {item["name"] for item in shown} == {"beat", "nightly", *(f"s{n}" for n in range(6))}
    assert all(partition_of(i, 3) == partition_of(i.partition("@")[0], 3) for i in beats(tmp_path))


MANY = 1_000_000
WRITE_MANY = """
for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  redis.call('HSET', 'pytask:schedule:s' .. i, 'function', 'beat', 'every', '3600', 'origin', 'client')
  redis.call('ZADD', 'pytask:schedules', ARGV[3] + i, 's' .. i)
end
"""


def test_a_million_schedules(store, client, cli, tmp_path):
    """What is due is started meanwhile, nothing is lost, and what is shown is bounded."""
    write(tmp_path / "tasks.py", TASKS)
    year = now_ms(client) + 365 * 86_400_000
    for first in range(0, MANY, 20_000):
        client.eval(WRITE_MANY, 0, first, first + 19_999, year)
    fresh = [f"s{i}" for i in range(0, MANY, MANY // 500)]
    client.zadd(
        "pytask:schedules", dict.fromkeys(fresh, 0)
    )  # as just written: their times are to be computed
    with run(store, tmp_path) as daemon:
        until(lambda: client.zcount("pytask:schedules", 0, 100_000_000_000) == 0, lambda: daemon.output)
        known = len(beats(tmp_path))
        until(lambda: len(beats(tmp_path)) >= known + 3, lambda: daemon.output)
        listed = cli("schedule", "ls", "--limit", "10")
        assert (listed.exit_code, "more schedules follow" in listed.output) == (0, True)
        assert len(listed.stdout.splitlines()) == 11
        assert "beat" in cli("schedule", "show", fresh[1]).stdout
        assert "PT076" in doctor(cli)  # it has an answer: this server writes no file
    assert client.zcard("pytask:schedules") == MANY + 2
    hour = now_ms(client) + 3_600_000
    assert all(0 < client.zscore("pytask:schedules", name) <= hour for name in fresh)
    assert "Traceback" not in daemon.output
    client.flushall()  # the next tests have the same server
