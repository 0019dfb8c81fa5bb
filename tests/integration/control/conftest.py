"""A real server and a real worker for all tests of this folder."""

import json
import signal

import pytest
import redis

from tests.support.cli_tools import ECHO, Started, pytask, until, write
from tests.support.servers import start_server

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


@pytest.fixture(scope="package")
def store(tmp_path_factory):
    """One server and one worker for all tests of this folder."""
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
