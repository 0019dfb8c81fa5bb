"""The command `pytask`: real processes, a real server."""

import json
import re
import signal
import sys
import textwrap
from datetime import datetime
from itertools import pairwise

import pytest
import redis

from pytask.adapters.redis.acl import ROLES
from pytask.cli.main import main
from tests.support.cli_tools import EXAMPLES, ROOT, Started, done, kept_port, pytask, until, write
from tests.support.servers import start_server

SECRET = "sesame-7391"
# A stalled machine is reported on standard error, in other words than in the log.
UNWATCHED = {"PYTASK_BLOCK_LIMIT": "60"}


TASKS = """
    from pytask import PyTask, Task

    class Base(Task):
        pass

    class Echo(Base):
        class Config:
            NAME = "echo"
        def start(self):
            return self.task_data
"""


# -- what needs no server --------------------------------------------------------------------------


def test_help_and_version():
    shown = done(pytask("run", "--help"))
    assert shown.returncode == 0
    assert "TARGET" in shown.stdout
    assert "--redis URL" in shown.stdout
    assert "time-scale" not in shown.stdout
    assert re.fullmatch(r"pytask, version \S+\n", done(pytask("--version")).stdout)


def test_help_loads_nothing_heavy():
    script = """
        import sys
        from pytask.cli.main import main
        main(["run", "--help"], standalone_mode=False)
        print(sorted({"gevent", "redis", "msgspec", "attrs", "logging"} & set(sys.modules)))
    """
    shown = done([sys.executable, "-c", textwrap.dedent(script)])
    assert shown.stdout.splitlines()[-1] == "[]", shown


def test_a_verb_that_looks_loads_what_it_needs(store, client):
    script = f"""
        import sys
        from pytask.cli.main import main
        for verb in ("status", "ls"):
            main([verb, "--redis", {store.url!r}], standalone_mode=False)
        heavy = ("gevent", "msgspec", "rich", "redis.asyncio.client", "opentelemetry",
                 "pytask.adapters.redis.store", "pytask.client.control", "pytask.client.enqueue")
        print([name for name in heavy if name in sys.modules])
        from redis.asyncio import Redis
        import redis
        print(Redis is redis.asyncio.client.Redis, redis.asyncio.Redis is Redis)
    """
    shown = done([sys.executable, "-c", textwrap.dedent(script)], PYTASK_TIMEOUT="5")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.splitlines()[-2:] == ["[]", "True True"]


def test_importing_pytask_loads_neither_gevent_nor_redis():
    script = "import sys, pytask; print({'gevent', 'redis'} & set(sys.modules))"
    assert done([sys.executable, "-c", script]).stdout == "set()\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run"], "Missing argument 'TARGET'"),
        (["run", "x.py", "--max-tasks", "0"], "0 is not in the range"),
        (["run", "x.py", "--redis", "redis://h", "--embedded"], "cannot be combined"),
        (["run", "x.py", "--data-dir", "d"], "add --embedded"),
    ],
)
def test_wrong_words_are_a_usage_error(words, says):
    shown = done(pytask(*words))
    assert (shown.returncode, shown.stdout) == (2, "")
    assert says in shown.stderr


def check_error(shown, code, exit_code, *words):
    assert shown.returncode == exit_code, shown.stderr
    assert shown.stderr.startswith(f"pytask: [{code}] "), shown.stderr
    for word in words:
        assert word in shown.stderr, shown.stderr
    return shown.stderr


def test_a_target_that_is_not_there_gets_a_suggestion(tmp_path):
    write(tmp_path / "tasks.py", TASKS)
    check_error(
        done(pytask("run", "taks.py"), tmp_path), "PT023", 2, "did you mean 'tasks.py'?", str(tmp_path)
    )
    check_error(
        done(pytask("run", "taks"), tmp_path), "PT023", 2, "no module 'taks'", "did you mean 'tasks'?"
    )
    check_error(done(pytask("run", "os.nothing"), tmp_path), "PT023", 2, "no module 'os.nothing'")


def test_a_name_that_is_not_there_lists_what_the_module_has(tmp_path):
    write(tmp_path / "tasks.py", TASKS + "\n    my_app = PyTask()\n")
    text = check_error(done(pytask("run", "tasks:my_ap"), tmp_path), "PT023", 2, "did you mean 'my_app'?")
    assert "Apps: my_app; Task classes: Base, Echo." in text
    check_error(done(pytask("run", "tasks:Echo"), tmp_path), "PT023", 2, "Echo is a Task class", "`:Echo`")
    check_error(done(pytask("run", "tasks:PyTask"), tmp_path), "PT023", 2, "not a PyTask but a type")


def test_a_module_with_nothing_of_its_own_or_with_two_apps(tmp_path):
    write(tmp_path / "bare.py", "from pytask import Monitor, Task")
    check_error(done(pytask("run", "bare.py"), tmp_path), "PT023", 2, "nothing to run", "Monitor (of pytask.")
    write(tmp_path / "two.py", "from pytask import PyTask\na = PyTask()\nb = PyTask()")
    check_error(done(pytask("run", "two.py"), tmp_path), "PT023", 2, "choose two.py:a or two.py:b")


def test_a_module_that_raises_shows_its_own_traceback_only(tmp_path):
    write(tmp_path / "deep.py", "def sink():\n    return 1 / 0")
    file = write(tmp_path / "broken.py", "from deep import sink\nsink()")
    text = check_error(done(pytask("run", "broken.py"), tmp_path), "PT026", 1, "ZeroDivisionError", "deep.py")
    frames = re.findall(r'File "([^"]+)", line', text)
    assert frames == [str(file), str(tmp_path / "deep.py")], text
    write(tmp_path / "typo.py", "def f(:\n")
    check_error(done(pytask("run", "typo.py"), tmp_path), "PT026", 1, "SyntaxError", 'typo.py", line 1')
    write(tmp_path / "needs.py", "import no_such_package")
    check_error(done(pytask("run", "needs"), tmp_path), "PT026", 1, "No module named 'no_such_package'")


def test_a_bad_task_class_is_reported_with_its_line(tmp_path):
    text = TASKS + "\n    app = PyTask()\n    app.add_task(Echo())\n"
    file = write(tmp_path / "tasks.py", text)
    line = file.read_text().splitlines().index("app.add_task(Echo())") + 1
    shown = done(pytask("run", "tasks.py"), tmp_path)
    check_error(shown, "PT021", 78, "add_task(Echo)", f"{file}, line {line}")
    write(tmp_path / "nameless.py", "from pytask import Task\nclass Lost(Task):\n    pass")
    check_error(done(pytask("run", "nameless.py"), tmp_path), "PT021", 78, "Lost has no name")


def test_the_other_project_called_pytask_is_named(tmp_path):
    info = tmp_path / "pytask-0.5.8.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pytask\nVersion: 0.5.8\n")
    for words in (["run", "x.py"], ["demo"]):
        shown = done(pytask(*words), tmp_path, PYTHONPATH=f"{ROOT}:{tmp_path}")
        check_error(shown, "PT025", 78, "`pytask` 0.5.8", "`pytaskd`", "pip uninstall -y pytask pytaskd")


def test_an_unpatched_program_learns_what_came_first(store, tmp_path):
    program = f"""
        import redis
        from pytask import PyTask
        PyTask(redis.Redis.from_url("{store.url}")).run()
    """
    shown = done([sys.executable, str(write(tmp_path / "plain.py", program))])
    assert shown.returncode == 1
    last = shown.stderr.splitlines()[-1]
    assert "[PT010]" in last
    assert "redis was imported before" in last
    assert "from gevent import monkey; monkey.patch_all()" in last
    assert "pytask run FILE" in last


# -- access rules ----------------------------------------------------------------------------------


def test_the_roles_of_the_command_are_those_of_the_rules():
    assert tuple(main.get_command(None, "acl").params[0].type.choices) == ROLES


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("namespace", ["", "app:"])
def test_acl_prints_a_line_that_a_server_takes(store, client, role, namespace):
    shown = done(pytask("acl", role, *(["--namespace", namespace] if namespace else [])))
    assert (shown.returncode, shown.stderr) == (0, "")
    (line,) = shown.stdout.splitlines()
    assert line.startswith(f"ACL SETUSER pytask-{role} on >PASSWORD ")
    client.execute_command(*line.replace("PASSWORD", SECRET).split())
    user = f"redis://pytask-{role}:{SECRET}@{store.host}:{store.port}/0"
    with redis.Redis.from_url(user, decode_responses=True) as restricted:
        assert restricted.ping()
        with pytest.raises(redis.exceptions.NoPermissionError):
            restricted.flushall()
        if role == "producer":
            assert restricted.hset(f"{namespace}t", "function", "f") == 1
            assert restricted.lpush(f"{namespace}new-task", "t") == 1


def test_a_role_that_does_not_exist_is_a_usage_error():
    shown = done(pytask("acl", "king"))
    assert (shown.returncode, shown.stdout) == (2, "")
    for word in ("'king'", *ROLES):
        assert word in shown.stderr
    spaced = done(pytask("acl", "worker", "--namespace", "two words"))
    assert (spaced.returncode, spaced.stdout) == (78, "")
    assert "must not contain spaces" in spaced.stderr


# -- the address -----------------------------------------------------------------------------------


def test_a_wrong_password_ends_the_daemon_and_is_never_printed(tmp_path):
    write(tmp_path / "tasks.py", TASKS)
    with start_server("valkey", password="right") as server:
        address = f"{server.host}:{server.port}/0"
        given = f"redis://:{SECRET}@{address}"
        shown = done(pytask("run", "tasks.py", "--redis", given), tmp_path)
        check_error(shown, "PT053", 78, f"{address} (from --redis)", "user:password@")
        missing = done(pytask("run", "tasks.py"), tmp_path, REDIS_URL=f"redis://{address}")
        check_error(missing, "PT053", 78, f"{address} (from $REDIS_URL)")
    assert SECRET not in shown.stderr + shown.stdout


def test_an_address_that_is_none(tmp_path):
    write(tmp_path / "tasks.py", TASKS)
    shown = done(
        pytask("run", "tasks.py"), tmp_path, PYTASK_REDIS_URL=f"http://:{SECRET}@x", REDIS_URL="redis://y"
    )
    check_error(shown, "PT020", 78, "http://***@x", "from $PYTASK_REDIS_URL")
    assert SECRET not in shown.stderr


def test_an_absent_redis_is_waited_for_and_the_address_explained(tmp_path):
    write(tmp_path / "tasks.py", TASKS)
    command = pytask("run", "tasks.py", "--time-scale", "0.1")
    with (
        kept_port() as port,
        Started(
            command, tmp_path, tmp_path, REDIS_URL=f"redis://:{SECRET}@127.0.0.1:{port}/0", **UNWATCHED
        ) as daemon,
    ):
        where = f"127.0.0.1:{port}/0 (from $REDIS_URL)"
        daemon.says(f"waits for Redis {where}: [PT051]")
        until(lambda: daemon.output.count(f"Redis {where} does not acknowledge") > 1, lambda: daemon.output)
        with (
            start_server("valkey", port=port, password=SECRET) as server,
            redis.Redis.from_url(server.url) as client,
        ):
            push(client, "late", "echo", {"it": "runs"})
            assert "takes tasks" not in daemon.output.partition("answers again")[0]
            until(lambda: client.hget("late", "state") == b"ENDED", lambda: daemon.output)
            assert daemon.end() == 0
        assert daemon.output.count("takes tasks from") == 1
        # One line per half second, regardless of the number of failures.
        times = [
            datetime.strptime(line[:24], "%Y-%m-%d %H:%M:%S.%f%z").timestamp()
            for line in daemon.output.partition("answers again")[0].splitlines()[:-1]
            if " ERROR " in line or " WARNING " in line
        ]
        assert len(times) >= 3
        assert all(after - before >= 0.45 for before, after in pairwise(times)), daemon.output
        assert SECRET not in daemon.output


# -- running ---------------------------------------------------------------------------------------


def push(client, task_id, function, data):
    client.hset(task_id, mapping={"function": function, "data": json.dumps(data)})
    client.lpush("new-task", task_id)


def test_the_synopsis(store, client, tmp_path):
    command = pytask("run", EXAMPLES / "synopsis.py", "--redis", store.url, "--name", "w1")
    with Started(command, tmp_path) as daemon:
        client.execute_command("HMSET", "greeting", "function", "test-task", "data", '{"text": "hello"}')
        client.execute_command("LPUSH", "new-task", "greeting")
        daemon.says("{'text': 'hello'}")
        assert client.hmget("greeting", "state", "worker") == ["RUNNING", "w1"]
        assert daemon.end(signal.SIGTERM) == 0, daemon.output
        assert client.hget("greeting", "state") == "WAIT"
        assert client.lrange("new-task", 0, -1) == ["greeting"]
    assert "Traceback" not in daemon.output


def test_task_classes_without_an_app_and_a_module_without_py(store, client, tmp_path):
    write(tmp_path / "tasks.py", TASKS)
    push(client, "one", "echo", {"a": 1})
    command = pytask("run", "tasks", "--log-format", "json", "--max-tasks", "3", "--namespace", "")
    env = {"PYTASK_REDIS_URL": store.url, "REDIS_URL": "redis://nowhere", **UNWATCHED}
    with Started(command, tmp_path, tmp_path, **env) as daemon:
        until(lambda: client.hget("one", "state") == "ENDED", lambda: daemon.output)
        assert client.hget("one", "output") == '{"a":1}'
        assert daemon.end(signal.SIGINT) == 0
        lines = [json.loads(line) for line in daemon.output.splitlines()]
    assert any("from $PYTASK_REDIS_URL" in line["message"] for line in lines)
    assert any("echo, pytask/monitor" in line["message"] for line in lines)


def test_an_app_keeps_its_own_client_and_settings_unless_a_flag_says_otherwise(store, client, tmp_path):
    text = f"""
    import redis
    app = PyTask(redis.Redis.from_url("{store.url}"), namespace="own:", name="own")
    app.add_task(Echo)
    def main():
        app.run()
    """
    write(tmp_path / "tasks.py", TASKS + text)
    command = pytask("run", "tasks.py:app", "--name", "flag", "--no-monitor")
    with Started(command, tmp_path, tmp_path, REDIS_URL="redis://nowhere") as daemon:
        client.hset("own:one", mapping={"function": "echo", "data": "{}"})
        client.lpush("own:new-task", "one")
        until(lambda: client.hget("own:one", "state") == "ENDED", lambda: daemon.output)
        daemon.says("(from the app itself): echo\n")
        daemon.says("worker flag takes tasks")


# -- embedded --------------------------------------------------------------------------------------

KEEPER = """
    from pytask import Task

    class Keeper(Task):
        class Config:
            NAME = "keeper"
        def start(self):
            print("count is", self.redis.incr("count"), flush=True)
"""


def embedded_url(daemon):
    daemon.says("embedded server at ")
    return re.search(r"embedded server at (\S+),", daemon.output).group(1)


def test_embedded_keeps_its_data_between_two_runs(tmp_path):
    """At the same port, and with tasks at once: nobody else could have taken over from a private server."""
    write(tmp_path / "tasks.py", KEEPER)
    urls = []
    for count in (1, 2):
        with Started(pytask("run", "tasks.py", "--embedded"), tmp_path, tmp_path) as daemon:
            urls.append(embedded_url(daemon))
            # The command line finds the server of its folder by itself, while it runs.
            assert done(pytask("new", "keeper", "--id", f"run-{count}"), tmp_path).returncode == 0
            daemon.says(f"count is {count}")
            assert daemon.end() == 0
        assert "no tasks are claimed" not in daemon.output.lower()
    assert urls[0] == urls[1]
    lost = done(pytask("config"), tmp_path)
    assert re.search(r"redis_url +redis://127.0.0.1:6379/0 +the default", lost.stdout)
    assert (tmp_path / ".pytask" / ".gitignore").read_text() == "*\n"
    with redis.Redis.from_url(embedded_url(daemon)) as client, pytest.raises(redis.ConnectionError):
        client.ping()


def test_a_second_daemon_uses_the_server_of_the_first(tmp_path):
    write(tmp_path / "tasks.py", KEEPER)
    command = pytask("run", "tasks.py", "--embedded", "--data-dir", "kept")
    with Started(command, tmp_path, tmp_path) as first:
        url = embedded_url(first)
        with Started(command, tmp_path, tmp_path) as second:
            second.says(f"at {url}: using it")
            found = done(pytask("config", "-o", "json"), tmp_path, PYTASK_DATA_DIR="kept")
            origin = {one["name"]: one["origin"] for one in json.loads(found.stdout)["items"]}["redis_url"]
            assert origin == "the embedded server of kept"
            second.says("takes tasks from")
            assert second.end() == 0
        with redis.Redis.from_url(url) as client:
            assert client.ping()
        assert first.end() == 0
