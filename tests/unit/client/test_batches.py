"""Tasks that are started together, on a server with a size limit, or one that goes away."""

import pytest

from pytask.client.batches import CHUNK, CHUNK_BYTES
from pytask.client.enqueue import start, start_many, update_data
from pytask.client.partitions import partitions_of
from pytask.client.records import New
from pytask.domain.errors import Refused, TaskExists, TooLarge, Unavailable

LIMIT = 200_000


class Server:
    """Does `enqueue` and `update`; refuses a round trip over its limit."""

    def __init__(self, limit=LIMIT, error=None):
        self.limit, self.error = limit, error or Unavailable("no answer from Redis: closed by the server")
        self.hashes, self.queue, self.trips = {}, [], 0
        self.lost = 0  # round trips that are done, and their replies lost

    def send(self, commands):
        self.trips += 1
        size = sum(len(word) for _, words in commands for word in words if isinstance(word, bytes))
        if size > self.limit:
            raise self.error
        replies = [self.enqueue(*words[2:]) for _, words in commands]
        if self.lost:
            self.lost -= 1
            raise self.error
        return replies

    def enqueue(self, number, *words):
        if number == 1 and len(words) == 2:  # update
            self.hashes[words[0]] = ("f", words[1])
            return b"OK"
        # The arguments, and the lists: the data of each hash, then the states.
        ids, (_, function, check, *rest) = words[2:number], words[number:]
        raws = rest[: len(ids)]
        odd = []
        for at, (task_id, raw) in enumerate(zip(ids, raws, strict=True), 1):
            if check and task_id in self.hashes:
                same = self.hashes[task_id] == (function, raw)
                odd += [at, b"ALREADY" if same else b"STATE"]
            else:
                self.hashes[task_id] = (function, raw)
                self.queue.append(task_id)
        return odd


def run(op, server):
    """The result of an operation."""
    try:
        step = next(op)
        while True:
            try:
                answer = server.send(step.commands)
            except Exception as error:
                step = op.throw(error)
            else:
                step = op.send(answer)
    except StopIteration as done:
        return done.value


@pytest.fixture
def partitions():
    return partitions_of("", 1)


def task(task_id, size=10):
    return ("f", {"x": "x" * size}, task_id)


def test_a_chunk_is_bounded_in_bytes(partitions):
    server = Server(limit=10 * CHUNK_BYTES)
    ids = run(start_many(partitions, [("f", {"x": "x" * 100_000})] * 300), server)
    assert server.queue == ids
    assert server.trips == 4


def test_many_small_tasks_still_go_in_one_round_trip(partitions):
    server = Server()
    assert len(run(start_many(partitions, [("f", {"n": 1})] * 8 * CHUNK), server)) == 8 * CHUNK
    assert server.trips == 1


@pytest.mark.parametrize("error", [None, Refused("invalid bulk length")])
def test_what_is_too_large_is_named_and_all_others_are_queued(partitions, error):
    server = Server(error=error)
    tasks = [task(f"t{n}", 20_000) for n in range(40)] + [task("big", 300_000), task("last")]
    with pytest.raises(TooLarge, match=r"'big', 300,008 bytes.*41 of the 42 tasks are queued") as caught:
        run(start_many(partitions, tasks), server)
    assert caught.value.ids == ("big",)
    assert sorted(server.queue) == sorted([*(f"t{n}" for n in range(40)), "last"])


def test_no_task_is_queued_twice_where_only_the_reply_was_lost(partitions):
    server = Server()
    server.lost = 1
    ids = run(start_many(partitions, [("f", {"x": "x" * 1000})] * 100), server)
    assert server.queue == ids
    server.lost = 1
    with pytest.raises(TooLarge, match="100 of the 101 tasks are queued"):
        run(
            start_many(partitions, [task(f"t{n}", 1000) for n in range(100)] + [task("big", 300_000)]), server
        )


def test_a_server_that_is_away_is_not_asked_again_and_the_error_tells_what_is_queued(partitions):
    server = Server(limit=40 * CHUNK_BYTES)
    first = run_until(start_many(partitions, [("f", {"x": "x" * 100_000})] * 300), server, trips=2)
    assert first.queued == tuple(server.queue)
    assert 100 < len(first.queued) < 300
    assert f"; {len(first.queued)} of 300 tasks are certainly queued" in str(first)


def run_until(op, server, trips):
    """The error of an operation whose server is lost after some round trips."""
    send = server.send

    def limited(commands):
        if server.trips == trips:
            raise Unavailable("away")
        return send(commands)

    server.send = limited
    with pytest.raises(Unavailable) as caught:
        run(op, server)
    return caught.value


def test_small_tasks_are_not_sent_again_after_an_outage(partitions):
    server = Server()
    server.lost = 1
    with pytest.raises(Unavailable, match="0 of 10 tasks are certainly queued"):
        run(start_many(partitions, [("f", {"n": 1})] * 10), server)
    assert server.trips == 1


def test_one_task_that_is_too_large(partitions):
    with pytest.raises(
        TooLarge, match=r"\[PT134\] the data of 'big', 300,008 bytes, .*closed by the server\. Store"
    ):
        run(start(partitions, New("f", {"x": "x" * 300_000}, "big")), Server())


def test_one_task_whose_reply_was_lost(partitions):
    server = Server()
    server.lost = 1
    assert run(start(partitions, New("f", {"x": "x" * 30_000})), server) == server.queue[0]
    assert len(server.queue) == 1


def test_an_id_that_is_taken_is_reported_though_its_chunk_went_in_parts(partitions):
    server = Server()
    server.hashes["taken"] = ("g", b"")
    with pytest.raises(TaskExists, match="taken"):
        run(start_many(partitions, [task(f"t{n}", 30_000) for n in range(10)] + [task("taken")]), server)
    assert len(server.queue) == 10


def test_new_data_that_is_too_large(partitions):
    server = Server()
    run(update_data(partitions, "a", {"x": "x" * 100_000}, None), server)
    with pytest.raises(TooLarge, match="'a', 300,008 bytes"):
        run(update_data(partitions, "a", {"x": "x" * 300_000}, None), server)
