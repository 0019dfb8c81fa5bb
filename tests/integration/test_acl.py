"""Users of least privilege on real servers: what each role may do, and what it is refused."""

import pytest
import redis

from pytask.adapters.redis.acl import ROLES, rules
from tests.integration.conftest import PATIENCE, wait_until
from tests.support.servers import HOST, is_available, start_server

SECRET = "s3cr3t-word"


@pytest.fixture(scope="module", params=["redis62", "valkey"])
def place(request):
    if not is_available(request.param):
        pytest.skip(f"no {request.param} server for this platform")
    with start_server(request.param) as server:
        yield server


@pytest.fixture(params=["", "app:"])
def ns(request):
    return request.param


@pytest.fixture
def users(place, ns):
    """Clients by role, and `admin`."""
    clients = {"admin": redis.Redis(HOST, place.port, decode_responses=True)}
    admin = clients["admin"]
    admin.flushall()
    for role in ROLES:
        admin.execute_command("ACL", "SETUSER", role, "on", f">{SECRET}", *rules(role, ns))
        clients[role] = redis.Redis(HOST, place.port, username=role, password=SECRET, decode_responses=True)
    admin.acl_log_reset()
    yield clients
    for client in clients.values():
        client.close()


def test_each_role_can_do_its_whole_job(users, place, ns, workers):
    worker = workers.start(f"redis://worker:{SECRET}@{HOST}:{place.port}/0", "--monitor", "--namespace", ns)
    ear = users["watcher"].pubsub(ignore_subscribe_messages=True)
    ear.psubscribe(f"{ns}task-*")
    with users["producer"].pipeline(transaction=True) as pipe:
        for task_id, function in (("p", "tick"), ("pytas", "shot"), ("pytasks", "fail"), ("x", "unknown")):
            pipe.hset(f"{ns}{task_id}", mapping={"function": function, "data": "{}"})
            pipe.lpush(f"{ns}new-task", task_id)
        pipe.execute()

    def state(task_id):
        assert worker.code is None, worker.log
        return users["watcher"].hget(f"{ns}{task_id}", "state")

    for task_id, expected in (("p", "RUNNING"), ("pytas", "ENDED"), ("pytasks", "ERROR"), ("x", "WAIT")):
        wait_until(lambda t=task_id, e=expected: state(t) == e, PATIENCE, task_id)
    wait_until(lambda: users["publisher"].publish(f"{ns}task-p-control", "stop") and state("p") == "STOPPED")
    channels = set()
    wait_until(
        lambda: (
            (m := ear.get_message(timeout=0.1))
            and (channels.add(m["channel"]) or m["channel"] == f"{ns}task-p")
        )
    )
    ear.close()
    refused = [(entry["username"], entry["reason"], entry["object"]) for entry in users["admin"].acl_log()]
    # Of what the library sends by itself as it connects, it ignores a refusal.
    refused = [entry for entry in refused if not entry[2].startswith("client")]
    assert refused == []
    assert SECRET not in worker.log


ANYBODY = [
    ("FLUSHALL",), ("CONFIG", "SET", "maxmemory", "1"), ("KEYS", "*"), ("SHUTDOWN",), ("ACL", "LIST"),
    ("CLIENT", "KILL", "TYPE", "normal"), ("MONITOR",), ("SCRIPT", "FLUSH"),
    ("REPLICAOF", "NO", "ONE"),
]  # fmt: skip
NOT_WORKER = [
    ("EVAL", "return 1", "0"),
    ("DEL", "{ns}pytask:runs"),
    ("DEL", "{ns}t"),
    ("LRANGE", "{ns}new-task", "0", "-1"),
]
NO_WRITES = [("HSET", "{ns}t", "a", "1"), ("LPUSH", "{ns}new-task", "t")]
FORBIDDEN = {
    "producer": [
        *NOT_WORKER, ("HSET", "{ns}pytask:runs", "t", "x"), ("LPUSH", "{ns}pytask:rejected", "x"),
        ("HSET", "{ns}pytask:", "t", "x"), ("HGETALL", "{ns}t"), ("PUBLISH", "{ns}task-t-control", "stop"),
        ("SUBSCRIBE", "{ns}task-t"), ("RPOP", "{ns}new-task"),
    ],
    "watcher": [
        *NOT_WORKER[:-1], *NO_WRITES, ("PUBLISH", "{ns}task-t-control", "stop"), ("CONFIG", "GET", "*"),
        ("ZADD", "{ns}pytask:leases", "1", "t"), ("RPOP", "{ns}new-task"),
        ("SUBSCRIBE", "{ns}pytask:hint"), ("PSUBSCRIBE", "*"),
    ],
    "publisher": [
        *NOT_WORKER, *NO_WRITES, ("PUBLISH", "{ns}pytask:hint", "f"), ("HGETALL", "{ns}pytask:runs"),
    ],
    "operator": [
        ("RPOP", "{ns}new-task"), ("BLMOVE", *["{ns}new-task"] * 2, "RIGHT", "RIGHT", "1"),
        ("PUBLISH", "{ns}pytask:ping:x", "f"), ("SUBSCRIBE", "{ns}pytask:ping:x"), ("PSUBSCRIBE", "*"),
        ("CONFIG", "GET", "*"), ("RENAME", "{ns}t", "{ns}u"), ("SET", "{ns}t", "x"),
    ],
    "worker": [],
}  # fmt: skip


@pytest.mark.parametrize("role", ROLES)
def test_what_a_role_does_not_need_it_is_refused(users, ns, role):
    users["admin"].hset(f"{ns}t", "function", "f")
    others = [("HSET", "other:t", "a", "1"), ("HGETALL", "other:t"), ("PUBLISH", "other:task-t", "x")]
    for words in ANYBODY + FORBIDDEN[role] + (others if ns else []):
        with pytest.raises(redis.exceptions.NoPermissionError):
            users[role].execute_command(*(word.replace("{ns}", ns) for word in words))
    assert users["admin"].hgetall(f"{ns}t") == {"function": "f"}


@pytest.mark.parametrize("lacks", ["evalsha", "hset", "zadd"])
def test_a_worker_that_lacks_a_right_says_which_and_the_fix(users, place, ns, workers, lacks):
    users["admin"].execute_command("ACL", "SETUSER", "worker", f"-{lacks}")
    worker = workers.start(f"redis://worker:{SECRET}@{HOST}:{place.port}/0", "--namespace", ns)
    users["producer"].hset(f"{ns}t", "function", "shot")
    users["producer"].lpush(f"{ns}new-task", "t")
    wait_until(
        lambda: "pytask acl worker" in worker.log and lacks in worker.log.lower(), why=lambda: worker.log
    )
    assert SECRET not in worker.log
