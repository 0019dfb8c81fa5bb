"""Tasks that start later, and tasks that are restarted, from the command line."""

import json
import time

import pytest

from tests.integration.control.conftest import rows
from tests.integration.control.test_explain_script import REDIS_CLI, type_all  # noqa: F401
from tests.support.cli_tools import until


def delayed(cli, client, *words):
    """A new task that the timers have."""
    made = cli("new", *words)
    assert (made.exit_code, made.stderr) == (0, "")
    task_id = made.stdout.strip()
    until(lambda: client.zscore("pytask:timers", task_id), "it is in the timers")
    return task_id


def test_a_task_that_starts_later_says_when(cli, client):
    task_id = delayed(cli, client, "echo", "n=1", "--in", "1h30m")
    why = cli("why", task_id).stdout
    assert ": it starts in 1h2" in why
    assert f"to run it now: pytask start {task_id}" in why
    shown = json.loads(cli("show", task_id, "-o", "json").stdout)
    assert (shown["state"], shown["restarts"]) == ("WAIT", 0)
    assert shown["due"] == pytest.approx(time.time() + 5400, abs=60)
    assert "starts at" in cli("show", task_id).stdout
    listed = rows(cli("ls", "-s", "wait", "-o", "json"))[task_id]
    assert listed["due"] == shown["due"]
    assert "STARTS IN" in cli("ls", "-s", "wait", "-o", "wide").stdout
    status = json.loads(cli("status", "-o", "json").stdout)
    assert status["delayed"] == client.zcard("pytask:timers")
    assert cli("start", task_id, "--wait", "20").exit_code == 0
    assert cli("wait", task_id).exit_code == 0
    assert client.zscore("pytask:timers", task_id) is None


def test_it_starts_by_itself_and_can_be_waited_for(cli, client):
    began = time.time()
    made = cli("new", "echo", "n=2", "--in", "1", "--wait", "30", "-o", "json")
    assert json.loads(made.stdout)["output"] == {"n": 2}
    assert time.time() - began >= 1


def test_a_time_is_a_moment_with_a_zone(cli, client):
    task_id = delayed(cli, client, "echo", "--at", "2126-12-01T09:00+01:00", "--id", "century")
    assert "at 2126-12-01 08:00:00Z" in cli("why", task_id).stdout
    assert cli("stop", task_id, "--wait", "20").exit_code == 0
    assert client.zscore("pytask:timers", task_id) is None
    assert client.hget(task_id, "state") == "STOPPED"
    task_id = delayed(cli, client, "echo", "--in", "1d")
    assert cli("rm", task_id, "-y").exit_code == 0
    assert client.zscore("pytask:timers", task_id) is None
    assert not client.exists(task_id)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--in", "soon"], "'soon' is not a duration: write seconds, or numbers with units"),
        (["--at", "2026-12-01T09:00"], "has no time zone: add Z for UTC"),
        (["--at", "tomorrow"], "is not a time: write ISO 8601"),
        (["--in", "1m", "--at", "2026-12-01T09:00Z"], "--in and --at exclude each other"),
        (["--restart", "sometimes"], "'never', 'failure', 'always'"),
    ],
)
def test_what_makes_no_sense_is_refused_where_it_is_written(cli, words, said):
    made = cli("new", "echo", *words)
    assert (made.exit_code, made.stdout) == (2, "")
    assert said in " ".join(made.stderr.split())


def test_a_failed_task_is_restarted_and_says_so(cli, client):
    made = cli("new", "broken", "--restart", "failure", "--id", "flaps")
    assert made.exit_code == 0
    until(lambda: int(client.hget("flaps", "restarts") or 0) >= 2, lambda: client.hgetall("flaps"))
    until(lambda: client.zscore("pytask:timers", "flaps"), "it waits for its next try")
    why = cli("why", "flaps").stdout
    assert "as asked" in why
    assert " times in " in why
    assert cli("show", "flaps").stdout.count("as asked") >= 1
    assert json.loads(cli("show", "flaps", "-o", "json").stdout)["restarts"] >= 2
    cli("stop", "flaps", "--wait", "20")
    until(lambda: client.hget("flaps", "state") == "STOPPED", "it is stopped")
    assert client.zscore("pytask:timers", "flaps") is None


@REDIS_CLI
def test_a_real_redis_cli_delays_starts_and_stops(cli, client, type_all):  # noqa: F811
    for task_id in ("typed-now", "typed-never", "typed-gone"):
        type_all("new", "echo", "--id", task_id, "--in", "1h")
        until(lambda task_id=task_id: client.zscore("pytask:timers", task_id), "it is in the timers")
    type_all("start", "typed-now")
    until(lambda: client.hget("typed-now", "state") == "ENDED", lambda: client.hgetall("typed-now"))
    type_all("stop", "typed-never")
    assert client.hget("typed-never", "state") == "STOPPED"
    type_all("rm", "typed-gone")
    assert not client.exists("typed-gone")
    assert not {"typed-now", "typed-never", "typed-gone"} & {*client.zrange("pytask:timers", 0, -1)}
    type_all("new", "echo", "--id", "typed-now", "--in", "1h")  # it has ended: it runs again, later
    until(lambda: client.zscore("pytask:timers", "typed-now"), "it is in the timers")
    type_all("stop", "typed-now")
