"""The partition of an id and the slot of a namespace, as a real cluster counts them."""

import pytest
import redis

from pytask import namespace_of, partition_of
from pytask.domain.partition import SLOTS, crc16, hash_tag
from tests.servers import start_server


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
