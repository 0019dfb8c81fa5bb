"""However long the queue is, no call holds Redis for long."""

import pytest
import redis

from pytask.adapters.keys import Keys
from pytask.adapters.redis.store import RedisStore
from pytask.client import Client
from pytask.client.sync_driver import SyncDriver
from pytask.domain.messages import Command
from pytask.domain.record import Verdict
from tests.contract.benches import SOON
from tests.support.servers import start_server

LENGTH = 130_000
WALK = 250_000 + LENGTH  # list entries in one call: the limit, and the id that goes over it


class Counting:
    """A client that notes how many commands each call made the server run inside of a script."""

    def __init__(self, client):
        self._client = client
        self.walked = []

    def execute_command(self, *words):
        before = self.removals()
        reply = self._client.execute_command(*words)
        self.walked.append((self.removals() - before) * LENGTH)
        return reply

    def removals(self):
        return self._client.info("commandstats").get("cmdstat_lrem", {"calls": 0})["calls"]


def fill(client, name):
    for at in range(0, LENGTH, 10_000):
        client.lpush(name, *(f"job-{number}" for number in range(at, at + 10_000)))


@pytest.mark.parametrize("ages", [(), [0.0] * 22], ids=["client", "message"])
@pytest.mark.parametrize("kind", ["redis62", "valkey"])
def test_stopping_many_that_wait_is_done_in_short_calls(kind, ages):
    keys = Keys()
    ids = [f"job-{number}" for number in range(0, LENGTH, LENGTH // 20)][:20]
    with start_server(kind) as server, redis.Redis(port=server.port) as client:
        fill(client, keys.queue)
        for task_id in ids:
            client.hset(task_id, "function", "f")
        client.hset("at-rest", mapping={"function": "f", "state": "ENDED"})
        counting = Counting(client)
        asked = [*ids[:10], "at-rest", "nobody", *ids[10:]]
        verdicts = RedisStore(counting, keys).control(Command.STOP, asked, ages)
        assert verdicts == [*[Verdict.OK] * 10, Verdict.STATE, Verdict.NOHASH, *[Verdict.OK] * 10]
        # Each takes its id out of the queue, and out of a parking list that is not there.
        assert max(counting.walked) <= 2 * WALK
        assert sum(counting.walked) >= 20 * LENGTH
        assert client.llen(keys.queue) == LENGTH - 20
        assert {client.hget(task_id, "state") for task_id in ids} == {b"STOPPED"}


def test_removing_many_is_done_in_short_calls(monkeypatch):
    ids = [f"job-{number}" for number in range(0, LENGTH, LENGTH // 20)][:20]
    with start_server("valkey") as server, redis.Redis(port=server.port) as client:
        fill(client, Keys().queue)
        for task_id in ids:
            client.hset(task_id, "function", "f")
        counting = Counting(client)
        send = SyncDriver.send

        def counted(shell, commands):
            before = counting.removals()
            replies = send(shell, commands)
            counting.walked.append((counting.removals() - before) * LENGTH)
            return replies

        monkeypatch.setattr(SyncDriver, "send", counted)
        with Client(server.url, timeout=SOON) as made:
            assert all(one.done for one in made.remove_many(ids))
        # Each takes its id out of the queue, and out of a parking list that is not there.
        assert max(counting.walked) <= 2 * WALK
        assert sum(counting.walked) >= 20 * LENGTH
        assert client.llen(Keys().queue) == LENGTH - 20


def test_a_long_parking_list_counts_as_well():
    keys = Keys()
    with start_server("valkey") as server, redis.Redis(port=server.port) as client:
        fill(client, keys.parking("f"))
        for number in range(10):
            client.hset(f"job-{number}", mapping={"function": "f", "state": "WAIT"})
        counting = Counting(client)
        store = RedisStore(counting, keys)
        assert set(store.control(Command.STOP, [f"job-{number}" for number in range(10)])) == {Verdict.OK}
        assert max(counting.walked) <= 2 * WALK
        assert client.llen(keys.parking("f")) == LENGTH - 10


@pytest.mark.parametrize("kind", ["redis62", "valkey"])
def test_many_finished_hashes_are_deleted_in_short_calls(kind):
    keys = Keys()
    index = keys.index("ENDED")
    with start_server(kind) as server, redis.Redis(port=server.port) as client:
        for at in range(0, 5_000, 1000):
            client.zadd(index, {f"job-{number}": 1_000_000 + number / 8 for number in range(at, at + 1000)})
        ids = [f"job-{number}" for number in range(5_000)]
        with client.pipeline() as pipe:
            for task_id in ids:
                pipe.hset(task_id, mapping={"function": "f", "state": "ENDED"})
            pipe.lpush(keys.queue, *ids[::50])
            pipe.execute()
        left = []

        class Watching:
            def execute_command(self, *words):
                reply = client.execute_command(*words)
                if words[0].startswith("EVAL"):
                    left.append(client.zcard(index))
                return reply

        store = RedisStore(Watching(), keys)
        store.retire()
        assert left[-3:] == [3_040, 1_080, 100]  # 100 wait again
        assert client.exists(*ids) == client.exists(*ids[::50]) == 100

        # In a queue that is too long to look through, nothing is known of an id: its hash stays.
        client.lpush(keys.queue, *range(100_000))
        client.hset("old", mapping={"function": "f", "state": "ENDED"})
        client.zadd(index, {"old": 1_000_000})
        store.retire()
        assert client.exists("old") == 1
