"""Where passwords and secret data are not to be seen: command lines, and what readers of tasks print."""

import os
import signal
from pathlib import Path

import pytest
import redis

from pytask.client import Client, New
from tests.support.cli_tools import PATIENCE, SLEEPER, Started, done, pytask, until, write
from tests.support.servers import HOST, start_server

PASSWORD = "hunter2-and-more"


@pytest.fixture(scope="module")
def locked():
    with start_server("valkey", password=PASSWORD) as server:
        yield server


def children_of(pid):
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def words_of(pid):
    return Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.mark.parametrize("by", ["flag", "environment"])
def test_the_children_of_a_supervisor_show_no_password(locked, tmp_path, by):
    write(tmp_path / "tasks.py", SLEEPER)
    url = f"redis://:{PASSWORD}@{HOST}:{locked.port}/0"
    words = ["--redis", url] if by == "flag" else []
    env = {} if by == "flag" else {"PYTASK_REDIS_URL": url}
    command = pytask("run", "tasks.py", "--processes", "2", *words)
    with (
        Started(command, tmp_path, tmp_path, **env) as parent,
        redis.Redis.from_url(url, decode_responses=True) as client,
    ):

        def shown():
            return set(client.hkeys("pytask:workers:info"))

        sessions = until(lambda: len(found := shown()) == 2 and found, lambda: parent.output)
        children = children_of(parent.process.pid)
        assert len(children) == 2
        assert not any(PASSWORD.encode() in words_of(pid) for pid in children)
        # What the user typed is the parent's command line; only the environment keeps it out of there.
        assert (PASSWORD.encode() in words_of(parent.process.pid)) == (by == "flag")
        assert PASSWORD not in parent.output
        # The next generation, and the check before it, are given it as well.
        os.kill(parent.process.pid, signal.SIGHUP)
        parent.says("all children have been replaced")
        until(lambda: len(found := shown()) == 2 and not found & sessions, lambda: parent.output)
        assert not any(PASSWORD.encode() in words_of(pid) for pid in children_of(parent.process.pid))
        assert parent.end() == 0


TASKS = """
    import logging
    import attrs, gevent
    from pytask import Task

    def long(_self, _field, value):
        if len(value) < 8:
            raise ValueError(f"{value} is too short for a password")

    @attrs.frozen
    class Login:
        user: str
        password: str = attrs.field(validator=long)
        api: dict = attrs.field(factory=dict)
        fail: bool = False

    class Login_(Task):
        class Config:
            NAME = "login"
            DATA = Login
            SECRET = ("password", "api.token")
        def start(self):
            logging.getLogger("shop").info("logs in with %r", self.task_data)
            print("printed", self.task_data.password)
            try:
                raise OSError(self.task_data.password)
            except OSError:
                logging.getLogger("shop").exception("no luck")
            self.emit("login", attrs.asdict(self.task_data))
            if self.task_data.fail:
                raise ValueError(f"refused: {self.task_data}")
            if self.task_data.user == "grace":
                gevent.sleep(1000)
            return attrs.asdict(self.task_data)
"""
SECRETS = ("correct-horse", "t0ken-of-many")
DATA = {"user": "ada", "password": SECRETS[0], "api": {"token": SECRETS[1], "url": "https://shop"}}


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    write(folder / "tasks.py", TASKS)
    with start_server("valkey") as server:
        words = pytask("run", "tasks.py", "--redis", server.url, "--task-logs", "50", "--name", "w1")
        with Started(words, folder, folder) as worker, Client(server.url, timeout=5) as client:
            until(lambda: any(one.secret for one in client.workers()), lambda: worker.output)
            yield server, worker, client


def printed(shop, *words):
    shown = done([*pytask(*words), "--redis", shop[0].url])
    return shown.stdout + shown.stderr


def hides(text):
    return not any(secret in text for secret in SECRETS)


READS = [("show",), ("show", "-o", "json"), ("why",), ("logs",), ("wait",)]


@pytest.mark.parametrize("fail", [False, True])
def test_no_reader_shows_a_secret_field(shop, fail):
    client = shop[2]
    events = client.watch(seconds=PATIENCE)
    task = client.start("login", DATA | {"fail": fail})
    state = client.wait(task, timeout=PATIENCE).state
    assert state == ("ERROR" if fail else "ENDED")
    until(lambda: "Traceback" in printed(shop, "logs", task), "its log")
    for words in READS:
        text = printed(shop, words[0], task, *words[1:])
        assert hides(text), (words, text)
    shown = printed(shop, "show", task)
    assert "********" in shown
    assert "https://shop" in shown  # what is not secret
    assert hides(printed(shop, "doctor"))
    assert hides(printed(shop, "ls", "--all", "-o", "json"))
    assert hides(repr(client.get(task)) + repr(New("login", DATA)))
    # The log of the worker, its traceback, and what the hash keeps of the error and of the moves.
    until(lambda: "no luck" in shop[1].output, "its log")
    logged = [line for line in shop[1].output.splitlines() if not line.startswith("printed")]
    assert hides("\n".join(logged))
    kept = client.get(task)
    assert hides(kept.error + str(kept.history))
    # Who asks for them sees them; so does who reads Redis.
    assert not hides(printed(shop, "show", task, "--reveal"))
    assert kept.data["password"] == SECRETS[0]
    assert next(one for one in events if one.name == "login").data["password"] == SECRETS[0]


def test_watch_masks_what_a_task_emits(shop, tmp_path):
    for words, visible in (((), False), (("--reveal",), True)):
        name = f"watched-{visible}"
        command = [*pytask("watch", name, "--count", "3", *words), "--redis", shop[0].url]
        with Started(command, tmp_path) as watcher, redis.Redis.from_url(shop[0].url) as raw:
            until(lambda r=raw, n=name: r.pubsub_numsub(f"task-{n}")[0][1], lambda w=watcher: w.output)
            shop[2].start("login", DATA, id=name)
            until(lambda w=watcher: w.process.poll() is not None, lambda w=watcher: w.output)
            line = next(line for line in watcher.output.splitlines() if "  login  " in line)
            assert hides(line) is not visible


@pytest.mark.parametrize(
    "bad", [{"password": "pass12"}, {"password": "correct-horse", "user": ["correct-horse"]}]
)
def test_errors_of_data_that_does_not_fit_quote_no_secret(shop, bad):
    client = shop[2]
    secret = bad["password"]
    failed = client.wait(client.start("login", DATA | bad), timeout=PATIENCE)
    assert failed.state == "ERROR"
    assert secret not in failed.error
    task = client.start("login", DATA | {"user": "grace"})
    client.wait(task, "RUNNING", PATIENCE)
    outcome = client.reload(task, DATA | bad, wait=PATIENCE)
    assert secret not in outcome.refusal.reason + str(client.get(task).history) + shop[1].output.replace(
        "printed " + secret, ""
    )
    client.stop(task, wait=PATIENCE)


def test_data_that_is_no_json_is_not_quoted(shop):
    server, _, client = shop
    with redis.Redis.from_url(server.url) as raw:
        raw.hset("odd", mapping={"function": "login", "data": '{"password": "correct-horse'})
        raw.lpush("new-task", "odd")
    failed = client.wait("odd", timeout=PATIENCE)
    assert "is not JSON" in failed.error
    assert hides(failed.error)
    assert "not shown" in printed(shop, "show", "odd")
    assert hides(printed(shop, "show", "odd"))
