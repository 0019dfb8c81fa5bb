"""The verbs that start and control single tasks."""

import json
import re
import shlex

import pytest
import redis

from pytask.client import Client
from pytask.client.partitions import own_name
from pytask.domain.errors import NoSuchTask, TaskExists
from tests.integration.control.conftest import TASKS, rows
from tests.support.cli_tools import Started, pytask, until, write
from tests.support.servers import start_server


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


def test_a_name_that_nobody_knows_is_reported_and_kept(cli, client):
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
    entries = [
        (move["trigger"], move["who"])
        for move in json.loads(cli("show", made, "-o", "json").stdout)["history"]
    ]
    assert entries == [("request", user), ("stop", "w1"), ("start", "night shift"), ("claim", "w1")]
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
            assert re.search(r"is running: its lease was renewed \d s ago", alive.stderr)
            assert [line.split()[1:] for line in alive.stdout.splitlines()[1:]] == 2 * [["runs", "RUNNING"]]
            dying.process.kill()
            dying.process.wait()
        with Started([*run, "lives"], tmp_path, tmp_path) as living:
            until(lambda: client.zcard("pytask:workers") == 2, lambda: living.output)
            # T has passed by the clock of Redis, too; the verb watches for T by its own.
            client.zadd("pytask:leases", dict.fromkeys(ids, (client.time()[0] - 10) * 1_000_000))
            done = cli("requeue", *ids, *scale, "-o", "json")
            assert done.exit_code == 0, done.stderr
            assert "2 tasks are RUNNING: leases that are not being renewed are observed for" in done.stderr
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


def test_one_that_may_be_several_is_reported_and_the_others_are_done(cli, client):
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
def test_a_state_that_is_none_is_reported_with_the_one_that_looks_like_it(cli, words):
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
    assert "the new data is stored: it is STOPPED" in shown.stderr
    (fix,) = re.findall(r"`pytask (.*?)`", shown.stderr)
    assert cli(*fix.split(), "--wait", "30").exit_code == 0
    assert client.hget(made, "data") == '{"n":2}'
    assert client.hget(made, "state") == "RUNNING"
    assert cli("reload", "--name", "nothing", "-y").exit_code == 0  # of a bulk, those that run are meant
    client.hset("waits", mapping={"function": "unknown", "data": "{}"})
    shown = cli("reload", "waits", made, "--wait", "30", "-o", "json")
    assert shown.exit_code == 1
    assert {i: row["outcome"] for i, row in rows(shown).items()} == {"waits": "does not run", made: "done"}
    assert "it is WAIT, and starts with the data in its hash" in shown.stderr
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


def test_a_start_that_no_worker_takes_is_reported_as_it_is(cli, client):
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
            assert late.stdout.splitlines()[1].split() == ["t", "no", "worker", "WAIT"]
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


def test_what_is_deleted_after_a_while_is_reported_alike_everywhere(cli, client):
    settings = r"settings keep_ended, keep_error, keep_stopped\)"
    for verb in ("show", "stop", "rm"):
        assert re.search(settings, cli(verb, "no-such-task").stderr), verb
    with Client(client) as made:
        for call in (made.get, made.stop, made.start_again, made.wait):
            with pytest.raises(NoSuchTask, match=settings):
                call("no-such-task")
    assert re.search(settings, " ".join(cli("explain", "PT080").stdout.split()))
