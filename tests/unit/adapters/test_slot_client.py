"""The client of one slot: follows it, and searches it again after a lost connection."""

import time

import pytest

from pytask.adapters.redis.slot_client import REDIRECTS, SlotClient, Topology

SLOT = 7
A, B, C = ("10.0.0.1", 1), ("10.0.0.2", 2), ("10.0.0.3", 3)


class ResponseError(Exception):
    """By its name, as the libraries' own is known."""


class AskError(ResponseError):
    def __init__(self, host, port):
        super().__init__(f"ASK {SLOT} {host}:{port}")
        self.host, self.port = host, port


class MovedError(AskError):
    """A redirection for good."""


class FakeNode:
    """Answers for the slot, or tells who does."""

    def __init__(self, world, address):
        self.world, self.address = world, address
        self.connection_pool = self

    def disconnect(self):
        self.world.open.remove(self)

    def execute_command(self, *words):
        self.world.calls.append((self.address, *words))
        if self.address in self.world.dead:
            raise ConnectionError(f"{self.address} refuses")
        if words == ("CLUSTER", "SLOTS"):
            return self.world.slots()
        if words[0] in self.world.keyless:
            return f"{words[0]} at {self.address[0]}"
        if "ASKING" not in self.world.sent and (target := self.world.redirects.get(self.address)):
            raise target
        return f"{words[0]} at {self.address[0]}"

    def pipeline(self, transaction):
        assert transaction is False
        return FakePipeline(self)


class FakePipeline:
    def __init__(self, node):
        self.node, self.commands = node, []

    def execute_command(self, *words):
        self.commands.append(words)

    def execute(self, raise_on_error):
        assert raise_on_error is False
        self.node.world.sent = {words[0] for words in self.commands}
        replies = []
        for words in self.commands:
            try:
                replies.append(self.node.execute_command(*words))
            except ResponseError as error:
                replies.append(error)
        self.node.world.sent = set()
        return replies


class World:
    def __init__(self, owner=A, nodes=(A, B, C)):
        self.owner, self.nodes = owner, list(nodes)
        self.calls, self.open, self.dead, self.redirects, self.sent = [], [], set(), {}, set()
        self.keyless = set()
        self.topology = Topology(list(nodes), lambda host, port: (host, port))
        self.client = SlotClient(SLOT, self.topology, self.connect, 3.0)

    def connect(self, address, _limit):
        node = FakeNode(self, address)
        self.open.append(node)
        return node

    def slots(self):
        others = [node for node in self.nodes if node != self.owner]
        rows = [[0, 100, *([node[0].encode(), node[1], b"id"] for node in (self.owner, others[0]))]]
        return rows + [[101, 16383, [node[0].encode(), node[1], b"id"]] for node in others[1:]]

    def served_by(self):
        return self.calls[-1][0]


def test_it_finds_the_node_once_and_keeps_to_it():
    world = World(owner=B)
    assert world.client.execute_command("GET", "x") == "GET at 10.0.0.2"
    world.client.execute_command("GET", "x")
    assert [call[1] for call in world.calls] == ["CLUSTER", "GET", "GET"]
    assert len(world.open) == 1


def test_a_moved_slot_is_followed_at_once_and_for_good():
    world = World()
    world.client.execute_command("GET", "x")
    world.redirects[A] = MovedError(*C)
    assert world.client.execute_command("EVALSHA", "x") == "EVALSHA at 10.0.0.3"
    calls = len(world.calls)
    world.client.execute_command("GET", "x")
    assert len(world.calls) == calls + 1
    assert [node.address for node in world.open] == [C]


def test_a_slot_on_its_way_is_asked_for_once():
    world = World()
    world.client.execute_command("GET", "x")
    world.redirects[A] = AskError(*B)
    world.redirects[B] = MovedError(*A)  # without ASKING
    assert world.client.execute_command("GET", "x") == "GET at 10.0.0.2"
    world.redirects.clear()
    assert world.client.execute_command("GET", "x") == "GET at 10.0.0.1"
    assert [node.address for node in world.open] == [A]


def test_a_redirection_without_an_end_is_an_error():
    world = World()
    world.redirects = {A: MovedError(*B), B: MovedError(*A)}
    with pytest.raises(MovedError):
        world.client.execute_command("GET", "x")
    assert len([call for call in world.calls if call[1] == "GET"]) == REDIRECTS


def test_an_unknown_host_is_the_one_that_answered():
    world = World()
    world.redirects[A] = MovedError("", 9)
    assert world.client.execute_command("GET", "x") == "GET at 10.0.0.1"
    assert world.served_by() == ("10.0.0.1", 9)


def test_an_error_is_the_callers_and_after_a_disconnect_the_node_is_looked_up_again():
    world = World()
    world.client.execute_command("GET", "x")
    world.dead.add(A)
    with pytest.raises(ConnectionError):
        world.client.execute_command("GET", "x")
    world.client.disconnect()
    world.owner = C
    assert world.client.execute_command("GET", "x") == "GET at 10.0.0.3"
    assert world.topology.nodes[-1] == A  # asked last from now on


def test_no_node_answers():
    world = World()
    world.dead |= {A, B, C}
    with pytest.raises(ConnectionError, match="refuses"):
        world.client.execute_command("GET", "x")
    assert world.open == []


def test_a_search_among_hanging_nodes_ends_in_time(monkeypatch):
    world = World(nodes=[(f"10.0.1.{n}", n) for n in range(100)])
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def hang(address, limit):
        now[0] += limit
        world.dead.add(address)
        return World.connect(world, address, limit)

    with pytest.raises(ConnectionError):
        world.topology.locate(SLOT, hang, 3.0)
    assert now[0] <= 4.0


def test_a_slot_that_nobody_serves():
    world = World()
    world.slots = lambda: [[8, 16383, [b"10.0.0.1", 1, b"id"]]]
    with pytest.raises(ConnectionError, match="CLUSTERDOWN"):
        world.client.execute_command("GET", "x")


def test_nodes_that_joined_are_known_and_those_that_left_forgotten():
    world = World()
    world.nodes, world.owner = [A, ("10.0.0.4", 4)], A
    world.client.execute_command("GET", "x")
    assert set(world.topology.nodes) == {A, ("10.0.0.4", 4)}


def test_what_a_pipeline_redirects_is_sent_again():
    world = World()
    world.client.execute_command("GET", "x")
    world.redirects[A] = MovedError(*B)
    pipe = world.client.pipeline(transaction=False)
    pipe.execute_command("HGET", "x")
    pipe.execute_command("TIME")
    assert pipe.execute(raise_on_error=False) == ["HGET at 10.0.0.2", "TIME at 10.0.0.2"]


def test_other_errors_of_a_pipeline_stay_in_their_places():
    world = World()
    world.client.execute_command("GET", "x")
    wrong = ResponseError("WRONGTYPE")
    world.redirects[A] = wrong
    pipe = world.client.pipeline()
    pipe.execute_command("HGET", "x")
    assert pipe.execute() == [wrong]


@pytest.mark.parametrize("target", [MovedError(*B), AskError(*B)])
def test_a_wait_goes_where_the_command_before_it_went(target):
    """It answers for its own connection: at the old node it would count replicas that have nothing."""
    world = World()
    world.client.execute_command("GET", "x")
    world.redirects[A] = target
    world.keyless = {"WAIT", "TIME"}
    pipe = world.client.pipeline()
    for word in ("EVALSHA", "WAIT", "TIME"):
        pipe.execute_command(word, "x")
    assert pipe.execute() == ["EVALSHA at 10.0.0.2", "WAIT at 10.0.0.2", "TIME at 10.0.0.1"]
    waits = [call for call in world.calls if call[1] == "WAIT"]
    assert [call[0] for call in waits] == [A, B]
    assert world.calls[-2][1] == "EVALSHA"  # on one connection, one after the other
