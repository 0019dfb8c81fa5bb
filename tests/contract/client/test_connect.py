"""Partitions, and which clients and addresses are taken."""

import pytest
import redis
import redis.asyncio

import pytask
import pytask.aio
from pytask import errors, partition_of
from tests.contract.client.faces import all_pages


def test_each_task_lives_in_its_partition(real):
    client = real.connect(namespace="app:", partitions=4)
    raw = real.bench.raw
    ids = [*client.start_many([("f", {"n": n}) for n in range(40)]), client.start("f")]
    for task_id in ids:
        space = f"app:{{{partition_of(task_id, 4)}}}:"
        assert raw.hget(space + task_id, "function") == b"f"
        assert raw.lpos(f"{space}new-task", task_id) is not None
    assert client.count().queued == 41
    assert sorted(task.id for task in all_pages(client, 7)[0]) == sorted(ids)
    events = client.watch()
    assert all(one.done for one in client.stop_many(ids))
    assert {next(events).id for _ in ids} == set(ids)
    assert client.count()["STOPPED"] == 41
    assert client.find(ids[0][:12]) == ([ids[0]], True)
    events.close()


def test_wrong_partitions_are_refused(real):
    for partitions in (0, -1, True, 1.0, "2"):
        with pytest.raises(errors.ConfigError):
            real.connect(partitions=partitions)


def test_a_server_that_forgot_its_scripts_gets_them_again(real):
    real.client.start("f")
    real.bench.raw.script_flush()
    real.client.start("f")
    real.bench.raw.script_flush()
    real.client.stop(real.client.start("f"))
    assert real.client.count().total == 3


def test_an_asyncio_client_refuses_a_blocking_one(servers):
    with pytest.raises(errors.UnsupportedClient, match=r"redis\.asyncio"):
        pytask.aio.Client(redis.Redis())


def test_a_wrong_url_is_refused_without_its_password(real):
    with pytest.raises(errors.ConfigError) as caught:
        real.connect("http://:s3cret@127.0.0.1")
    assert "s3cret" not in str(caught.value)
