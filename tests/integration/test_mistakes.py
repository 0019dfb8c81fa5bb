"""The most likely mistakes: each is made, told under its code, and mended by the printed fix.

What the doctor finds is in test_console, the target of `pytask run` in test_cli, files of settings in
tests/unit/cli.
"""

import json
import re
import shlex
import sys

import pytest
import redis
from click.testing import CliRunner

from pytask.cli.main import main
from pytask.cli.messages import explanations
from tests.support.cli_tools import Started, done, pytask, until, write
from tests.support.servers import free_port, start_server

TASKS = """
    import attrs
    import gevent
    from pytask import Task

    @attrs.define
    class Address:
        street: str
        number: int

    class Sleeper(Task):
        class Config:
            NAME = "sleeper"
        def start(self):
            gevent.sleep(1000)

    class Letter(Task):
        class Config:
            NAME = "letter"
            DATA = Address
        def start(self):
            return self.task_data.number

    class Thumb(Task):
        class Config:
            NAME = "twiddle-thumbs"
        def start(self):
            return "done"
"""


@pytest.fixture(scope="module")
def store():
    with start_server("valkey", appendonly=True) as server:
        yield server


@pytest.fixture(scope="module")
def client(store):
    with redis.Redis.from_url(store.url, decode_responses=True) as made:
        made.flushall()
        yield made


@pytest.fixture(scope="module")
def daemon(store, client, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mistakes")
    write(folder / "tasks.py", TASKS)
    command = pytask("run", "tasks.py", "--redis", store.url, "--name", "w1")
    with Started(command, folder, folder) as started:
        until(lambda: client.pubsub_numpat() >= 1, lambda: started.output)
        yield started


def push(client, task_id, function, data="{}"):
    client.hset(task_id, mapping={"function": function, "data": data})
    client.lpush("new-task", task_id)


def state(client, task_id, wanted):
    until(lambda: client.hget(task_id, "state") == wanted, lambda: client.hgetall(task_id))


def printed(text, start="redis-cli "):
    """The first command that a text prints, as words."""
    return shlex.split(re.search(re.escape(start) + r"(.*)", text)[1].split("    ")[0])


def explained(code):
    return f"{code}  {explanations()[code]}\n"  # as `pytask explain` prints it


def apply(client, code, words=(), **parts):
    """Run what the fix of a code prints, with these words and parts of words in place of its own."""
    fix = explained(code).split("Fix: ")[1]
    for text in re.findall(r"redis-cli .*", fix)[:2]:
        command = [dict(words).get(word, word) for word in printed(text)]
        for part, value in parts.items():
            command = [word.replace(part, value) for word in command]
        client.execute_command(*command)


# -- data and tasks ----------------------------------------------------------------------------------------


def test_data_that_is_no_json_points_at_the_byte(daemon, client):
    push(client, "torn", "sleeper", '{"name": "kit')
    state(client, "torn", "ERROR")
    error = client.hget("torn", "error")
    assert "[PT030]" in error
    assert re.search(r"byte \d+", error), error
    apply(client, "PT030", ID="torn")
    state(client, "torn", "RUNNING")


def test_data_that_does_not_fit_names_the_path_and_the_type(daemon, client):
    push(client, "post", "letter", '{"street": "Elm", "number": "twelve"}')
    state(client, "post", "ERROR")
    error = client.hget("post", "error")
    assert "[PT030]" in error
    assert "$.number" in error
    assert "int" in error
    apply(client, "PT030", {'{"name": "kitchen"}': '{"street": "Elm", "number": 12}'}, ID="post")
    state(client, "post", "ENDED")
    assert client.hget("post", "output") == "12"


def test_an_unknown_function_is_kept_and_the_near_one_named(daemon, client):
    push(client, "idle", "twidle-thumbs")
    daemon.says("[PT092] unknown function 'twidle-thumbs'; did you mean twiddle-thumbs?")
    assert client.hget("idle", "state") == "WAIT"
    apply(client, "PT092", ID="idle", NAME="twiddle-thumbs")
    state(client, "idle", "ENDED")


def test_an_id_pushed_without_a_hash(daemon, client):
    client.lpush("new-task", "early")
    daemon.says("[PT095] rejected from the queue: no-hash (id 'early')")
    apply(client, "PT095", ID="early", NAME="twiddle-thumbs")
    state(client, "early", "ENDED")


def test_an_unknown_control_word(daemon, client):
    push(client, "steered", "sleeper")
    state(client, "steered", "RUNNING")
    until(lambda: client.publish("task-steered-control", "halt"), "somebody hears it")
    daemon.says("[PT043] ignored 'halt' on 'task-steered-control', which is not a control word: use stop,")
    fix = re.search(r"Fix: (PUBLISH task-ID-control stop)", explained("PT043"))[1]
    client.execute_command(*fix.replace("ID", "steered").split())
    state(client, "steered", "STOPPED")


# -- classes -----------------------------------------------------------------------------------------------

BAD = {
    "instance": ("app.add_task(One())", "app.add_task(One)", "pass the class itself, add_task(One)"),
    "nameless": ("app.add_task(Two)", "Two.Config.NAME = 'two'; app.add_task(Two)", "NAME = 'a-name'"),
    "twice": ("app.add_task(One, Three)", "Three.Config.NAME = 'three'; app.add_task(One, Three)", "'one'"),
    "no task": ("app.add_task(dict)", "app.add_task(One)", "derive it from pytask.Task"),
}
CLASSES = """
    from pytask import PyTask, Task
    class One(Task):
        class Config:
            NAME = "one"
        def start(self):
            return 1
    class Two(Task):
        class Config:
            pass
        def start(self):
            return 2
    class Three(Task):
        class Config:
            NAME = "one"
        def start(self):
            return 3
    app = PyTask()
"""


@pytest.mark.parametrize("which", BAD)
def test_a_task_class_that_cannot_be_one(store, client, tmp_path, which):
    mistake, mended, says = BAD[which]
    command = pytask("run", "tasks.py", "--redis", store.url, "--namespace", f"{which}:")
    write(tmp_path / "tasks.py", CLASSES + f"    {mistake}\n")
    shown = done(command, tmp_path)
    assert shown.returncode == 78
    assert "[PT021]" in shown.stderr
    assert says in shown.stderr
    assert "tasks.py, line 19" in shown.stderr
    write(tmp_path / "tasks.py", CLASSES + f"    {mended}\n")
    with Started(command, tmp_path, tmp_path) as daemon:
        daemon.says("takes tasks from")
        assert daemon.end() == 0


def test_a_process_that_is_not_patched(store, client, tmp_path):
    program = f"""
        import redis
        from pytask import PyTask, Task
        class One(Task):
            class Config:
                NAME = "patched"
            def start(self):
                return 1
        app = PyTask("{store.url}", namespace="patched:")
        app.add_task(One)
        app.run()
    """
    path = write(tmp_path / "plain.py", program)
    shown = done([sys.executable, path])
    assert shown.returncode == 1
    assert "[PT010]" in shown.stderr
    fix = re.search(r"Make `(.*?)` the first line", shown.stderr)[1]
    path.write_text(f"{fix}\n{path.read_text()}")
    with Started([sys.executable, path], tmp_path) as mended:
        client.hset("patched:t", mapping={"function": "patched", "data": "{}"})
        client.lpush("patched:new-task", "t")
        until(lambda: client.hget("patched:t", "state") == "ENDED", lambda: mended.output)


# -- the server --------------------------------------------------------------------------------------------


def new(url, *words):
    return CliRunner().invoke(main, ["new", "f", "--redis", url, *words], env={"PYTASK_TIMEOUT": "5"})


def check(shown, exit_code, code, *words):
    assert shown.exit_code == exit_code, shown.stderr
    assert f"[{code}]" in shown.stderr
    for word in words:
        assert word in shown.stderr, shown.stderr


def test_an_address_where_nothing_listens(store, client):
    port = free_port()
    shown = new(f"redis://127.0.0.1:{port}/0")
    check(shown, 69, "PT051", f"redis://127.0.0.1:{port}/0 (from --redis)", "--redis URL")
    server = shown.stderr.splitlines()[1]
    explained_line = server.replace(f":{port}/0 (from --redis)", ":6379/0 (the default)")
    assert f"\n  {explained_line}\n" in explained("PT051")
    assert new(store.url).exit_code == 0


def test_a_missing_password():
    with start_server("valkey", password="right-73") as server:
        plain = f"redis://{server.host}:{server.port}/0"
        check(new(plain), 78, "PT053", "(from --redis)")
        form = re.search(r"redis://user:password@host:port/0", explained("PT053"))[0]
        right = form.replace("user:password", ":right-73").replace(
            "host:port", f"{server.host}:{server.port}"
        )
        assert new(right).exit_code == 0


def test_a_read_only_replica(store, client):
    with start_server("valkey", "--replicaof", f"{store.host} {store.port}") as replica:
        check(new(replica.url), 1, "PT052", "READONLY")
        words = ["doctor", "-o", "json", "--redis", replica.url]
        shown = CliRunner().invoke(main, words, env={"PYTASK_TIMEOUT": "5"})
        found = json.loads(shown.stdout)["items"]
        (fix,) = [one["fix"] for one in found if one["code"] == "PT072"]
        primary = re.search(r"connect to its primary (\S+:\d+)", fix)[1]
        assert new(f"redis://{primary}/0").exit_code == 0


def findings(url):
    words = ["doctor", "-o", "json", "--redis", url]
    return json.loads(CliRunner().invoke(main, words, env={"PYTASK_TIMEOUT": "5"}).stdout)["items"]


def test_a_full_server():
    with start_server("valkey") as server, redis.Redis.from_url(server.url) as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1")
        check(
            new(server.url),
            1,
            "PT052",
            "Redis refuses: OOM command not allowed when used memory > 'maxmemory'. R",
        )
        found = {one["code"]: one for one in findings(server.url)}
        assert "the server is full: " in found["PT052"]["what"]
        assert re.search(r"redis-cli .*CONFIG SET maxmemory \d+$", found["PT052"]["fix"])
        shown = CliRunner().invoke(main, ["status", "--redis", server.url])
        assert " of 1B used, answers in" in shown.stdout
        apply(client, "PT052")
        assert new(server.url).exit_code == 0
        assert "PT052" not in {one["code"] for one in findings(server.url)}


def test_the_queue_is_no_list():
    with start_server("valkey") as server, redis.Redis.from_url(server.url) as client:
        client.set("new-task", "mine")
        check(new(server.url), 1, "PT054")
        rename = re.search(r"redis-cli (RENAME new-task other)", explained("PT054"))[1]
        client.execute_command(*rename.split())
        assert new(server.url).exit_code == 0
        assert client.get("other") == b"mine"
