"""The users of docs/security.md, made by its very lines: all verbs of the clients and of the command line."""

import asyncio
import inspect
import json
import re
import shlex

import pytest
import redis
from click.testing import CliRunner

import pytask
import pytask.aio
from pytask import Timing, errors
from pytask.adapters.redis.acl import ROLES, command, rules
from pytask.cli.main import main
from pytask.client import New
from pytask.domain.partition import namespace_of
from tests.integration.conftest import PATIENCE, Crew, wait_until
from tests.support.cli_tools import ROOT
from tests.support.servers import HOST, is_available, start_server

pytestmark = pytest.mark.slow

SECRET = "s3cr3t-word"
PATIENT = {"timeout": PATIENCE, "connect_timeout": PATIENCE}  # a busy machine is no Redis that is away
DOCUMENT = (ROOT / "docs" / "security.md").read_text("utf-8")
LINES = dict(re.findall(r"^(ACL SETUSER pytask-(\w+) .*)$", DOCUMENT, re.MULTILINE))
LINES = {role: line for line, role in LINES.items()}


def test_the_document_has_what_the_command_prints():
    assert {role: command(role, "app:") for role in ROLES} == LINES


@pytest.fixture(scope="module", params=["redis62", "redis", "valkey"])
def place(request, tmp_path_factory):
    """A server with those users, and a worker that runs as the worker of them."""
    if not is_available(request.param):
        pytest.skip(f"no {request.param} server for this platform")
    recent_workers = Crew(tmp_path_factory.mktemp("recent_workers"))
    with start_server(request.param) as server, redis.Redis(HOST, server.port) as admin:
        for line in LINES.values():
            admin.execute_command(*shlex.split(line.replace("PASSWORD", SECRET)))
        server.admin = admin
        worker = recent_workers.start(url(server, "worker"), "--monitor", "--namespace", "app:", name="larch")
        with connected(server, "watcher") as watcher:
            wait_until(lambda: worker.code is not None or watcher.workers(), why=lambda: worker.log)
        wait_until(lambda: admin.pubsub_numsub("app:pytask:hint")[0][1], why=lambda: worker.log)
        wait_until(lambda: admin.zcard("app:pytask:monitors"), why=lambda: worker.log)
        admin.acl_log_reset()
        yield server
        refused = [
            (entry["username"], entry["object"])
            for entry in admin.acl_log(1000)
            if entry["username"] in ("pytask-worker", "pytask-operator")
            # What the libraries send by themselves, and what the doctor does without.
            and not entry["object"].startswith(("client", "config"))
        ]
        assert refused == []
        assert SECRET not in worker.log
        recent_workers.close()


def url(server, role):
    return f"redis://pytask-{role}:{SECRET}@{HOST}:{server.port}/0"


def connected(server, role):
    return pytask.Client(url(server, role), namespace="app:", **PATIENT)


@pytest.fixture
def client(place, request):
    with connected(place, request.param) as made:
        yield made


@pytest.fixture
def running(place):
    """The id of a task that runs."""
    with connected(place, "operator") as operator:
        task_id = operator.start("tick")
        operator.wait(task_id, "RUNNING", PATIENCE)
        place.admin.hset("app:resting", mapping={"function": "none-has-it", "state": "STOPPED"})
        yield task_id
        operator.remove("resting")
        operator.stop(task_id, wait=PATIENCE)
        operator.remove(task_id)


LOOKING = {
    "get": lambda c, i: c.get(i),
    "list": lambda c, i: [c.list(state=s) for s in (None, "RUNNING", "WAIT", "ENDED", "ERROR", "STOPPED")],
    "count": lambda c, i: c.count(),
    "workers": lambda c, i: [one.name for one in c.workers()] == ["larch"] or pytest.fail("no worker"),
    "metrics": lambda c, i: c.metrics(),
    "samples": lambda c, i: [c.samples(), c.samples("day")],
    "functions": lambda c, i: "tick" in {one.name for one in c.functions()} or pytest.fail("no function"),
    "find": lambda c, i: c.find(i[:10]),
    "wait": lambda c, i: c.wait(i, "RUNNING", PATIENCE),
    "logs": lambda c, i: list(c.logs(i)),
    "schedules": lambda c, i: c.schedules.list(),
    "limits": lambda c, i: [c.limits.list(), c.limits.get(group="g")],
    "watch": lambda c, i: [list(c.watch(i, seconds=0.05)), list(c.watch(seconds=0.05))],
}
STEERING = {
    "update_data": lambda c, i: c.update_data(i, {"for": 999}),
    "stacks": lambda c, i: c.stacks(i, wait=PATIENCE),
    "reload": lambda c, i: c.reload(i, {"for": 998}, wait=PATIENCE),
    "reload_many": lambda c, i: c.reload_many([i]),
    "stop": lambda c, i: c.stop(i, wait=PATIENCE),
    "start_again": lambda c, i: c.start_again(i, {"for": 997}, wait=PATIENCE),
    "start_again fresh": lambda c, i: c.start_again("resting", fresh=True),
    "requeue": lambda c, i: c.requeue("resting"),
    "requeue_many": lambda c, i: c.requeue_many(["resting"]),
    "stop_many": lambda c, i: c.stop_many([i]),
    "start_again_many": lambda c, i: c.start_again_many([i]),
    "pause": lambda c, i: c.pause("resting"),
    "pause_many": lambda c, i: c.pause_many(["resting"]),
    "pause_functions": lambda c, i: c.pause_functions(["none-has-it"]),
    "resume_functions": lambda c, i: c.resume_functions(["none-has-it"]),
    "remove": lambda c, i: c.remove("none"),
    "limits, changed": lambda c, i: [c.limits.set(1, group="g"), c.limits.remove(group="g")],
    "schedules, changed": lambda c, i: [
        c.schedules.add("hourly", "shot", every=3600, overlap="allow"),
        c.schedules.get("hourly"),
        c.schedules.list(),
        c.schedules.pause("hourly"),
        c.schedules.resume("hourly"),
        c.schedules.remove("hourly"),
    ],
    "remove_many": lambda c, i: c.remove_many(["none", f"gone-{i}"]),
    "start with an id": lambda c, i: c.start("tick", id="mine") and c.stop("mine", wait=PATIENCE),
    "start_many with an id": lambda c, i: c.start_many([New("shot", id=f"of-{i}")]),
}
PRODUCING = {
    "start": lambda c, i: [c.start("shot"), c.start("shot", {"a": 1})],
    "start_many": lambda c, i: c.start_many(["shot", ("shot", {"a": 1})] * 300),
}
MAY = {
    "watcher": LOOKING,
    "operator": LOOKING | STEERING | PRODUCING,
    "producer": PRODUCING,
}


def test_partitions_have_keys_of_their_own(place):
    """The rules of a producer keep it from the books of each partition, and let it push to all."""
    admin, space = place.admin, "parts:"
    for role in ("producer", "operator"):
        words = rules(role, space, partitions=3)
        admin.execute_command("ACL", "SETUSER", f"{role}-of-parts", "on", f">{SECRET}", *words)
    login = f"of-parts:{SECRET}@{HOST}:{place.port}/0"
    options = {"namespace": space, "partitions": 3, **PATIENT}
    with pytask.Client(f"redis://producer-{login}", **options) as producer:
        ids = [producer.start("nobody-knows") for _ in range(12)]
    with pytask.Client(f"redis://operator-{login}", **options) as operator:
        assert operator.count().queued == 12
        assert {task.id for task in operator.list().tasks} == set(ids)
        assert all(outcome.done for outcome in operator.stop_many(ids))
        assert all(operator.remove(task_id) for task_id in ids)
    with redis.Redis.from_url(f"redis://producer-{login}") as producer:
        for index in range(3):
            for own in ("pytask:runs", "pytask:leases"):
                with pytest.raises(redis.exceptions.NoPermissionError):
                    producer.hset(f"{namespace_of(space, index, 3)}{own}", "a", "b")


def test_every_verb_of_the_client_is_here():
    methods = inspect.getmembers(pytask.Client, inspect.isfunction)
    verbs = {name for name, _ in methods if not name.startswith("_")} - {"close", "named"}
    assert verbs <= {name.partition(" ")[0] for name in LOOKING | STEERING | PRODUCING}


@pytest.mark.parametrize("client", MAY, indirect=True)
def test_each_role_may_do_what_it_is_for_and_nothing_else(client, place, running, request):
    role = request.node.callspec.params["client"]
    for name, verb in (LOOKING | PRODUCING | STEERING).items():
        if name in MAY[role]:
            verb(client, running)
        else:
            with pytest.raises(errors.Denied, match=r"PT053.*pytask acl operator"):
                pytest.fail(f"{role} may {name}: {verb(client, running)}")
    if "start" in MAY[role]:
        length = "app:new-task"
        wait_until(lambda: place.admin.llen(length) == 0, why="what was produced is taken")


def test_an_operator_puts_back_what_a_dead_worker_left(place):
    timing = Timing().scaled(0.01)
    old = (place.admin.time()[0] - 3600) * 1_000_000
    place.admin.hset("app:dead", mapping={"function": "shot", "state": "RUNNING", "run": "gone:1"})
    place.admin.hset("app:pytask:runs", "dead", "gone:1")
    place.admin.zadd("app:pytask:leases", {"dead": old})
    with connected(place, "operator") as operator:
        operator.requeue("dead", timing=timing)
        assert operator.wait("dead", timeout=PATIENCE).state == "ENDED"


def test_the_asyncio_client_as_operator(place, running):
    async def go():
        async with pytask.aio.Client(url(place, "operator"), namespace="app:", **PATIENT) as client:
            made = await client.start("tick")
            await client.wait(made, "RUNNING", PATIENCE)
            assert (await client.reload(made, wait=PATIENCE)).done
            assert (await client.stop(made, wait=PATIENCE)).done
            assert await client.remove(made)
            assert [one.name for one in await client.workers()] == ["larch"]
            assert running in {task.id for task in (await client.list(state="RUNNING")).tasks}

    asyncio.run(go())


SHOWS = [
    ["ls"], ["ls", "-s", "running"], ["show", "ID"], ["show", "SHORT"], ["why", "ID"], ["status"], ["top"],
    ["schedule", "ls"], ["workers"], ["functions"],
    ["wait", "ID", "--for", "running"], ["watch", "ID", "--for", "0.05"],
    ["doctor"],
]  # fmt: skip
STEERS = [
    ["new", "tick", "--id", "typed"], ["stacks", "ID"], ["reload", "ID", "--wait", "30"],
    ["pause", "ID"], ["start", "ID"], ["pause", "--name", "tick"], ["start", "--paused", "--name", "tick"],
    ["stop", "ID", "--wait", "30"], ["start", "ID", "--wait", "30", "--fresh"], ["requeue", "--all", "-y"],
    ["stop", "typed", "--wait", "30"], ["rm", "typed"],
    ["schedule", "add", "typed", "tick", "--every", "1h"], ["schedule", "show", "typed"],
    ["schedule", "pause", "typed"], ["schedule", "resume", "typed"], ["schedule", "rm", "typed"],
]  # fmt: skip


def typed(place, role, words, running):
    words = [running if word == "ID" else running[:12] if word == "SHORT" else word for word in words]
    options = ["--redis", url(place, role), "--namespace", "app:"]
    return CliRunner().invoke(main, [*words, *options], env={"PYTASK_TIMEOUT": str(PATIENCE)})


@pytest.mark.parametrize("role", ["watcher", "operator"])
def test_the_command_line(place, running, role, monkeypatch):
    for words in SHOWS:
        shown = typed(place, role, words, running)
        # Both may not read the settings of the server, which are not theirs to change.
        expected = (0, 3) if words == ["doctor"] else (0,)
        assert shown.exit_code in expected, (words, shown.output, shown.stderr)
        assert "NOPERM" not in shown.output + shown.stderr
        assert SECRET not in shown.output + shown.stderr
    for words in STEERS:
        shown = typed(place, role, words, running)
        if role == "operator":
            assert shown.exit_code == 0, (words, shown.output, shown.stderr)
        elif (
            "ID" in words or words[0] == "new" or "add" in words
        ):  # of others there is none, which it may know
            assert (shown.exit_code, "[PT053]" in shown.stderr) == (78, True), (words, shown.stderr)
    found = typed(place, role, ["doctor", "-o", "json"], running)
    codes = {item["code"] for item in json.loads(found.stdout)["items"]}
    assert codes <= {"PT070"}
