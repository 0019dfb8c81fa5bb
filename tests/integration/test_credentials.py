"""Where passwords and secret data are not to be seen: command lines, and what readers of tasks print."""

import os
import signal
from pathlib import Path

import pytest
import redis

from tests.integration.cli_tools import SLEEPER, Started, pytask, until, write
from tests.servers import HOST, start_server

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
        parent.says("all children are replaced")
        until(lambda: len(found := shown()) == 2 and not found & sessions, lambda: parent.output)
        assert not any(PASSWORD.encode() in words_of(pid) for pid in children_of(parent.process.pid))
        assert parent.end() == 0
