"""What a daemon makes of file, environment, code and flags: a real one, asked over Redis what it is."""

import json
import os
import signal

import pytest
import redis
from click.testing import CliRunner

from pytask.cli.main import main
from tests.support.cli_tools import Started, done, pytask, until, write
from tests.support.servers import start_server

pytestmark = pytest.mark.slow

TASKS = """
    from pytask import Task

    class Thumb(Task):
        class Config:
            NAME = "thumb"
        def start(self):
            return "done"
"""
APP = """
    from pytask import PyTask
    app = PyTask(name="in-code", max_tasks=5)
    app.add_task(Thumb)
"""
FILE = """
    redis_url = "{url}"
    namespace = "file:"
    name = "in-file"
    max_tasks = 7
    monitor = false
    log_format = "json"
"""


@pytest.fixture(scope="module")
def store():
    with start_server("valkey") as server:
        yield server


@pytest.fixture
def folder(store, tmp_path, monkeypatch):
    for name in list(os.environ):
        if name.startswith(("PYTASK_", "REDIS_")):
            monkeypatch.delenv(name)
    with redis.Redis.from_url(store.url) as client:
        client.flushall()
    write(tmp_path / "tasks.py", TASKS)
    write(tmp_path / "pytask.toml", FILE.format(url=store.url))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(folder, *flags, **env):
    return Started(pytask("run", "tasks.py", *flags), folder, folder, **env)


def shown(*words):
    """What the workers say of themselves, to a command line that goes by the same file."""
    found = CliRunner().invoke(main, ["workers", "-o", "json", *words], env={"PYTASK_TIMEOUT": "8"})
    assert found.exit_code == 0, found.stderr
    # One that could not say goodbye in time is silent soon.
    return {(one["name"], one["max_tasks"]) for one in json.loads(found.stdout)["items"] if one["alive"]}


def is_shown(daemon, *expected, words=()):
    until(lambda: shown(*words) == set(expected), lambda: (shown(*words), daemon.output))


def test_the_file_then_the_environment_then_the_flags(folder):
    with run(folder) as daemon:
        is_shown(daemon, ("in-file", 7))
        # New settings by a new start in place.
        write(folder / "pytask.toml", (folder / "pytask.toml").read_text().replace("= 7", "= 8"))
        os.kill(daemon.process.pid, signal.SIGHUP)
        is_shown(daemon, ("in-file", 8))
        assert daemon.end() == 0
        lines = [json.loads(line) for line in daemon.output.splitlines()]  # log_format
        assert any("from pytask.toml" in line["message"] for line in lines)
        assert not any("pytask/monitor" in line["message"] for line in lines)
    given = {"PYTASK_NAME": "in-environment", "PYTASK_MAX_TASKS": "9", "PYTASK_LOG_FORMAT": "console"}
    with run(folder, "--name", "by-flag", "--monitor", **given) as daemon:
        is_shown(daemon, ("by-flag", 9))
        daemon.says("pytask/monitor, thumb\n")
        assert " INFO " in daemon.output


def test_what_an_app_sets_stands_above_file_and_environment_and_below_the_flags(folder):
    write(folder / "tasks.py", TASKS + APP)
    with run(folder, PYTASK_MAX_TASKS="9") as daemon:
        is_shown(daemon, ("in-code", 5))
    with run(folder, "--max-tasks", "6", PYTASK_MAX_TASKS="9", PYTASK_NAMESPACE="environment:") as daemon:
        is_shown(daemon, ("in-code", 6), words=["--namespace", "environment:"])


def test_a_family_goes_by_the_same_settings(folder):
    with run(folder, PYTASK_PROCESSES="2") as daemon:
        is_shown(daemon, ("in-file-1", 7), ("in-file-2", 7))
        assert daemon.end() == 0


@pytest.mark.parametrize(
    ("text", "env", "code", "says"),
    [
        ("max_taks = 3", {}, "PT028", "did you mean 'max_tasks'?"),
        ("max_tasks = 0", {}, "PT020", "max_tasks = 0 (from pytask.toml)"),
        ("", {"PYTASK_MAX_TASKS": "0"}, "PT020", "max_tasks = 0 (from $PYTASK_MAX_TASKS)"),
        ("", {"PYTASK_PROCESSES": "many"}, "PT020", "$PYTASK_PROCESSES is 'many'"),
        ("", {"PYTASK_CONFIG": "none.toml"}, "PT028", "configuration file 'none.toml' not found"),
    ],
)
def test_a_wrong_setting_starts_nothing(folder, text, env, code, says):
    (folder / "pytask.toml").write_text(text)
    refused = done(pytask("run", "tasks.py"), folder, **env)
    assert (refused.returncode, refused.stdout) == (78, "")
    assert f"[{code}]" in refused.stderr
    assert says in refused.stderr
