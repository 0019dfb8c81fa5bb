"""The partition of an id and the slot of a namespace, as a real cluster counts them."""

import subprocess
import sys

import pytest
import redis

from pytask import PyTask, namespace_of, partition_of
from pytask.adapters.memory import MemoryBackend
from pytask.domain.errors import ConfigError
from pytask.domain.partition import SLOTS, crc16, hash_tag
from tests.integration.conftest import ROOT, wait_until
from tests.support.servers import start_server


@pytest.fixture(scope="module")
def node():
    with start_server("valkey", "--cluster-enabled", "yes") as server:
        yield redis.Redis(server.host, server.port)


@pytest.mark.parametrize("task_id", ["a", "task-1", "0b1f", "ä-ö", "x" * 500, "123456789", "with space"])
@pytest.mark.parametrize("partitions", [1, 4, 7, 64])
def test_the_partition_is_crc16_of_the_id(node, task_id, partitions):
    slot = node.execute_command("CLUSTER", "KEYSLOT", task_id)
    assert crc16(task_id.encode()) % SLOTS == slot
    if SLOTS % partitions == 0:
        assert partition_of(task_id, partitions) == slot % partitions


@pytest.mark.parametrize("namespace", ["", "app:", "{pytask}:", "a{b}c{d}:"])
def test_all_keys_of_a_partition_are_in_the_slot_of_its_tag(node, namespace):
    for partition in range(4):
        space = namespace_of(namespace, partition, 4)
        slots = {
            node.execute_command("CLUSTER", "KEYSLOT", space + key)
            for key in ("new-task", "pytask:runs", "job-1", "{odd}id", "}")
        }
        assert slots == {crc16(hash_tag(space).encode()) % SLOTS}


def test_the_daemon_serves_all_partitions_of_a_plain_server_too():
    with (
        start_server("valkey") as server,
        redis.Redis(server.host, server.port, decode_responses=True) as client,
    ):
        command = [sys.executable, "-m", "pytask", "run", "benchmarks/tasks.py", "--redis", server.url]
        flags = ["--namespace", "app:", "--partitions", "3", "--time-scale", "0.1"]
        process = subprocess.Popen([*command, *flags], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        try:
            homes = {f"job-{n}": namespace_of("app:", partition_of(f"job-{n}", 3), 3) for n in range(60)}
            for task_id, space in homes.items():
                client.hset(space + task_id, mapping={"function": "noop"})
                client.lpush(f"{space}new-task", task_id)
            wait_until(lambda: {client.hget(s + i, "state") for i, s in homes.items()} == {"ENDED"})
            for space in set(homes.values()):
                wait_until(lambda s=space: client.zcard(f"{s}pytask:monitors"), why=f"a monitor in {space}")
        finally:
            process.terminate()
            _, log = process.communicate(timeout=20)
        assert process.returncode == 0, log
        assert f"127.0.0.1:{server.port}/0" in log
        assert "3 partitions" in log
        assert len(set(homes.values())) == 3


def test_the_in_memory_backend_has_one_partition():
    app = PyTask(MemoryBackend(), partitions=2)
    with pytest.raises(ConfigError, match="partitions=2: the in-memory backend has one"):
        app.start()
    app.configure(partitions=1)
    with app:
        assert len(app.worker.partitions) == 1
