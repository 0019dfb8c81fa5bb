"""The rest of the codes: each is met for real, and mended as its message or `pytask explain` says."""

import json
import os
import re

import pytest
import redis
from click.testing import CliRunner

from pytask import PyTask, Task, errors
from pytask.adapters.memory import MemoryBackend
from pytask.adapters.redis.acl import rules
from pytask.cli.main import main
from pytask.cli.messages import explanations
from tests.support.cli_tools import Started, done, pytask, sent_by, until, write
from tests.support.servers import HOST, find_binary, start_server

pytestmark = pytest.mark.slow

TASKS = """
    import gevent
    from pytask import Task

    class Sleeper(Task):
        class Config:
            NAME = "sleeper"
        def start(self):
            gevent.sleep(1000)
"""
SECRET = "s3cr3t-word"


@pytest.fixture(scope="module")
def store():
    with start_server("valkey", appendonly=True) as server:
        yield server


@pytest.fixture
def client(store):
    with redis.Redis.from_url(store.url, decode_responses=True) as made:
        made.flushall()
        yield made


@pytest.fixture
def cli(store, monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith(("PYTASK_", "REDIS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PYTASK_REDIS_URL", store.url)
    monkeypatch.setenv("PYTASK_TIMEOUT", "5")
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "tasks.py", TASKS)
    return lambda *words, **env: CliRunner().invoke(main, [str(word) for word in words], env=env)


def fix_of(code):
    return " ".join(explanations()[code].split("Fix: ")[1].split())


def fails(shown, exit_code, code):
    assert (shown.exit_code, f"[{code}]" in shown.stderr) == (exit_code, True), (
        shown.exit_code,
        shown.stderr,
    )
    return shown.stderr


def push(client, task_id, function="sleeper"):
    client.hset(task_id, mapping={"function": function, "data": "{}"})
    client.lpush("new-task", task_id)


# -- before anything runs ----------------------------------------------------------------------------------


def test_a_setting_that_cannot_be_and_where_it_came_from(cli):
    said = fails(cli("status", PYTASK_PARTITIONS="two"), 78, "PT020")
    assert "$PYTASK_PARTITIONS is 'two', but must be a whole number" in said
    assert "the value that the message names" in fix_of("PT020")
    assert cli("status", PYTASK_PARTITIONS="1").exit_code == 0
    shown = cli("config", PYTASK_PARTITIONS="1").stdout  # as the fix says, it tells where each came from
    assert re.search(r"^partitions +1 +from \$PYTASK_PARTITIONS", shown, re.MULTILINE)


def test_a_name_that_no_class_has():
    class Tick(Task):
        class Config:
            NAME = "tick"

        def start(self):
            """Nothing."""

    def app_with(name):
        app = PyTask(MemoryBackend())
        app.add_task(Tick)
        app.pre_start_task(name)
        return app

    with pytest.raises(errors.UnknownTask, match="PT022") as met:
        app_with("tik").start()
    with app_with(re.search(r"add_task was called for: (\w+)", str(met.value))[1]) as app:
        assert app.worker is not None


def test_a_module_that_raises(cli, store, tmp_path):
    program = write(tmp_path / "broken.py", TASKS.replace("import gevent", "import gevnt"))
    shown = done(pytask("run", "broken.py", "--redis", store.url), tmp_path)
    assert shown.returncode == 1
    assert "[PT026]" in shown.stderr
    line, name = int(re.search(r'broken.py", line (\d+)', shown.stderr)[1]), "gevnt"
    assert f"No module named '{name}'" in shown.stderr
    lines = program.read_text().splitlines()
    lines[line - 1] = lines[line - 1].replace(name, "gevent")  # "correct what the last line says"
    program.write_text("\n".join(lines))
    with Started(pytask("run", "broken.py", "--redis", store.url), tmp_path, tmp_path) as worker:
        worker.says("takes tasks from")


def test_no_server_to_start_and_one_that_does_not_come_up(tmp_path):
    write(tmp_path / "tasks.py", TASKS)
    command = pytask("run", "tasks.py", "--embedded")
    shown = done(command, tmp_path, PYTASK_REDIS_SERVER="/no/such/server")
    assert (shown.returncode, "[PT060]" in shown.stderr) == (78, True)
    assert "set $PYTASK_REDIS_SERVER to a path" in fix_of("PT060")
    right = str(find_binary("valkey"))
    with Started(command, tmp_path, tmp_path, PYTASK_REDIS_SERVER=right) as worker:
        worker.says("takes tasks from")
    next((tmp_path / ".pytask").glob("appendonlydir/*.manifest")).write_text("nonsense\n")
    shown = done(command, tmp_path, PYTASK_REDIS_SERVER=right)
    assert (shown.returncode, "[PT061]" in shown.stderr) == (1, True)
    assert "nonsense" in shown.stderr  # the lines of its log
    (flag,) = re.findall(r"choose another directory with (--data-dir)", fix_of("PT061"))
    other = [*command, flag, "other"]
    with Started(other, tmp_path, tmp_path, PYTASK_REDIS_SERVER=right) as worker:
        worker.says("takes tasks from")


# -- the server --------------------------------------------------------------------------------------------


def diagnosis(cli, url, *words):
    shown = cli("doctor", "-o", "json", "--redis", url, *words)
    assert shown.stdout, shown.stderr
    found = {item["code"]: item for item in json.loads(shown.stdout)["items"]}
    assert shown.exit_code == (3 if any(item["serious"] for item in found.values()) else 0)
    return found


def obey(admin, fix, user=""):
    return admin.execute_command(*sent_by(fix, user))


@pytest.mark.parametrize(("lacks", "code"), [("config|get", "PT070"), ("info", "PT071"), ("pubsub", "PT139")])
def test_a_user_that_may_not_look_at_the_server(cli, store, client, lacks, code):
    words = [*rules("worker"), f"-{lacks.partition('|')[0]}"]
    client.execute_command("ACL", "SETUSER", "some", "reset", "on", f">{SECRET}", *words)
    url = f"redis://some:{SECRET}@{HOST}:{store.port}/0"
    found = diagnosis(cli, url)
    assert set(found) == {code}
    assert not found[code]["serious"]
    assert " ".join(sent_by(found[code]["fix"], "<user>")) in fix_of(code)
    obey(client, found[code]["fix"], "some")
    assert diagnosis(cli, url) == {}


def test_a_primary_that_can_lose_what_it_acknowledged(cli):
    with (
        start_server("valkey", "--min-replicas-max-lag", "60", appendonly=True) as primary,
        redis.Redis.from_url(primary.url) as admin,
        start_server("valkey", "--replicaof", f"{HOST} {primary.port}", "--repl-diskless-sync-delay", "0"),
    ):
        until(lambda: admin.info("replication")["connected_slaves"] == 1, "the replica is there")
        for code in ("PT073", "PT074"):  # the second shows once the first is mended
            found = diagnosis(cli, primary.url)
            assert set(found) == {code}
            assert " ".join(sent_by(found[code]["fix"], "<user>")) in fix_of(code)
            obey(admin, found[code]["fix"])
        assert diagnosis(cli, primary.url) == {}


def test_a_server_that_takes_less_than_a_task_may_bring(cli, store, client):
    client.config_set("proto-max-bulk-len", 1 << 20)
    found = diagnosis(cli, store.url)
    assert set(found) == {"PT078"}
    assert "CONFIG SET proto-max-bulk-len to the number in the message" in fix_of("PT078")
    obey(client, found["PT078"]["fix"])
    assert diagnosis(cli, store.url) == {}


# -- steering ----------------------------------------------------------------------------------------------


def test_an_id_that_is_none_and_one_that_may_be_several(cli, client):
    push(client, "order-17")
    push(client, "order-18")
    fails(cli("show", "odrer-17"), 4, "PT080")
    assert fix_of("PT080").startswith("`pytask ls` lists the tasks")
    there = cli("ls", "-o", "id").stdout.split()
    assert sorted(there) == ["order-17", "order-18"]
    assert cli("show", there[0]).exit_code == 0
    fails(cli("show", "order"), 2, "PT081")
    assert fix_of("PT081").startswith("give a longer prefix")
    assert cli("show", "order-18", "-o", "id").stdout == "order-18\n"


def test_what_takes_too_long_and_an_unhealthy_machine(cli, store, client, tmp_path):
    push(client, "t")
    late = cli("wait", "t", "--for", "running", "--timeout", "0.2")
    fails(late, 124, "PT082")
    assert "See `pytask why t`" in late.stderr
    assert (
        fix_of("PT082") == "`pytask why ID` shows what the task waits for; then wait longer with --timeout."
    )
    why = cli("why", "t").stdout
    remedy = re.search(r"^start a worker: (pytask run) TARGET$", why, re.MULTILINE)[1]
    fails(cli("health", "--run-dir", tmp_path / "run"), 3, "PT083")
    command = pytask(*remedy.split()[1:], "tasks.py", "--redis", store.url, "--run-dir", tmp_path / "run")
    with Started(command, tmp_path, tmp_path) as worker:
        assert cli("wait", "t", "--for", "running", "--timeout", "30").exit_code == 0, worker.output
        until(lambda: cli("health", "--run-dir", tmp_path / "run").exit_code == 0, lambda: worker.output)
        # It runs, so it is not to be deleted: stop it, then delete it.
        fails(cli("rm", "t"), 1, "PT085")
        (seconds,) = re.findall(r"stop\(id, wait=(\d+)\), then remove\(id\)", fix_of("PT085"))
        assert cli("stop", "t", "--wait", seconds).exit_code == 0
        assert cli("rm", "t").exit_code == 0


def test_an_id_that_is_taken(cli, client):
    assert cli("new", "sleeper", "n=1", "--id", "mine").exit_code == 0
    fails(cli("new", "sleeper", "n=2", "--id", "mine"), 1, "PT084")
    assert fix_of("PT084").startswith("choose another id, or omit it")
    assert cli("new", "sleeper", "n=2", "--id", "other").exit_code == 0
    assert cli("new", "sleeper", "n=2").exit_code == 0


def test_a_cursor_of_another_list(cli, client):
    for number in range(5):
        push(client, f"t{number}")
    shown = cli("ls", "-l", "2", "-s", "wait")
    cursor = re.search(r"--cursor (\S+)", shown.stderr)[1]
    fails(cli("ls", "-s", "ended", "--cursor", cursor), 78, "PT087")
    assert "pass `page.cursor` unchanged, with the same state; or start without" in fix_of("PT087")
    assert cli("ls", "-s", "wait", "--cursor", cursor).exit_code == 0
    assert cli("ls", "-s", "ended").exit_code == 0
