"""A client for one slot of a Redis Cluster: one connection to the slot's node, wherever the slot goes.

All keys of a partition are in one slot.  The libraries' cluster clients would open connections to every
node for each of our connections, and repeat calls on their own for longer than a call may last.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

Address = tuple[str, int]
Command = tuple[Any, ...]

REDIRECTS = 5  # a slot that moves on while it is followed
PROBE_SHARE = 3  # nodes that hang, asked before a search for the slot's node has used up its time


class Topology:
    """The nodes that are known, by anyone's answer, and who owns which slot by the last one."""

    def __init__(self, nodes: list[Address], remap: Callable[[str, int], Address]) -> None:
        self.nodes = nodes
        self._remap = remap

    def locate(self, slot: int, connect: Callable[[Address, float], Any], limit: float) -> Address:
        """Ask one node after the other who owns the slot, for about `limit` seconds."""
        until = time.monotonic() + limit
        failure: Exception = ConnectionError("no node of the cluster is known")
        for address in list(self.nodes):
            if time.monotonic() > until:
                break
            client = connect(address, limit / PROBE_SHARE)
            try:
                ranges = client.execute_command("CLUSTER", "SLOTS")
            except Exception as error:  # noqa: BLE001 - raised below if no other node answers
                failure = error
                self._last(address)
                continue
            finally:
                client.connection_pool.disconnect()
            owner = self.learn(ranges, slot, address)
            if owner is not None:
                return owner
            failure = ConnectionError(f"CLUSTERDOWN no node serves slot {slot}")
        raise failure

    def learn(self, ranges: Any, slot: int, asked: Address) -> Address | None:
        """Take in an answer of CLUSTER SLOTS; the owner of the slot, None if there is none."""
        owner = None
        found: list[Address] = []
        for first, last, *nodes in ranges:
            addresses = [self.address(node[0], node[1], asked) for node in nodes]
            found += addresses
            if first <= slot <= last:
                owner = addresses[0]
        # Those that answered before stay in front; those that left the cluster are forgotten.
        known = [node for node in self.nodes if node in found or node == asked]
        self.nodes = known + [node for node in dict.fromkeys(found) if node not in known]
        return owner

    def _last(self, address: Address) -> None:
        with contextlib.suppress(ValueError):
            self.nodes.remove(address)
            self.nodes.append(address)

    def address(self, host: Any, port: int, asked: Address) -> Address:
        """An address as a node tells it; an unknown host is that of the node itself."""
        name = host.decode() if isinstance(host, bytes) else host
        return self._remap(name if name not in (None, "", "?") else asked[0], int(port))


class SlotClient:
    """As much of a client as the stores, queues and feeds use.  Used by one greenlet, but for `disconnect`.

    A redirected command was not executed, so it is sent again at once; any other error is the caller's.
    """

    def __init__(
        self, slot: int, topology: Topology, connect: Callable[[Address, float | None], Any], timeout: float,
        *, packs: bool = False,
    ) -> None:  # fmt: skip
        self.packs = packs  # whether its connections send what was packed before
        self._slot = slot
        self._topology = topology
        self._connect = connect
        self._timeout = timeout
        self._client: Any = None
        self._address: Address = ("", 0)

    def execute_command(self, *words: Any) -> Any:
        """The reply of the slot's node, or of the one that it names."""
        asking: Address | None = None
        for _ in range(REDIRECTS):
            try:
                if asking is None:
                    return self._node().execute_command(*words)
                return _unless_error(self._ask(asking, [words])[0])
            except Exception as error:
                moved, target = redirected(error)
                if target is None:
                    raise
                address = self._topology.address(*target, self._address)
                asking = None if moved else address
                if moved:
                    self._go_to(address)
                redirect = error
        raise redirect

    def pipeline(self, transaction: bool = False) -> Pipeline:  # noqa: ARG002, FBT002 - the library's own
        """Commands that are sent together; never a transaction."""
        return Pipeline(self)

    def send_all(self, commands: list[Command]) -> list[Any]:
        """The replies, errors among them; what was redirected is sent again, with a WAIT that follows it."""
        replies = _together(self._node(), commands)
        for place, reply in enumerate(replies):
            if isinstance(reply, Exception) and redirected(reply)[1] is not None:
                end = place + 1
                while end < len(commands) and _is_wait(commands[end]):
                    end += 1
                replies[place:end] = self._again(commands[place:end], replies[place:end])
        return replies

    def _again(self, commands: list[Command], replies: list[Any]) -> list[Any]:
        """The first of `commands` was redirected: they are sent on one connection to where it is served."""
        for _ in range(REDIRECTS):
            error = replies[0]
            moved, target = redirected(error) if isinstance(error, Exception) else (False, None)
            if target is None:
                break
            address = self._topology.address(*target, self._address)
            if moved:
                self._go_to(address)
            replies = _together(self._client, commands) if moved else self._ask(address, commands)
        return replies

    def pubsub(self, **options: Any) -> Any:
        """A subscription at the slot's node; every node of a cluster hears what is published."""
        return self._node().pubsub(**options)

    def info(self, section: str) -> Any:
        """INFO of the slot's node."""
        return self._node().info(section)

    def disconnect(self) -> None:
        """Drop the connection; the next call looks for the slot's node anew."""
        client, self._client = self._client, None
        if client is not None:
            client.connection_pool.disconnect()

    def _node(self) -> Any:
        if self._client is None:
            # A search and a call together last no longer than the two calls that a renewal may take.
            self._go_to(self._topology.locate(self._slot, self._connect, self._timeout))
        return self._client

    def _go_to(self, address: Address) -> None:
        self.disconnect()
        self._address = address
        self._client = self._connect(address, None)

    def _ask(self, address: Address, commands: list[Command]) -> list[Any]:
        client = self._connect(address, None)
        try:
            return _together(client, [("ASKING",), *commands])[1:]
        finally:
            client.connection_pool.disconnect()


class Pipeline:
    """Collects commands for `SlotClient.send_all`."""

    def __init__(self, client: SlotClient) -> None:
        self._client = client
        self._commands: list[Command] = []

    def execute_command(self, *words: Any) -> None:
        """One more."""
        self._commands.append(words)

    def execute(self, raise_on_error: bool = False) -> list[Any]:  # noqa: ARG002, FBT002 - the library's own
        """Send them; errors stand in the places of their replies."""
        return self._client.send_all(self._commands)


def _together(client: Any, commands: list[Command]) -> list[Any]:
    pipe = client.pipeline(transaction=False)
    for words in commands:
        pipe.execute_command(*words)
    return list(pipe.execute(raise_on_error=False))


def _unless_error(reply: Any) -> Any:
    if isinstance(reply, Exception):
        raise reply
    return reply


def _is_wait(words: Command) -> bool:
    # It answers for what its own connection wrote, so elsewhere it would count replicas that have nothing.
    return str(words[0]).lower() == "wait"


def redirected(error: Exception) -> tuple[bool, tuple[str, int] | None]:
    """Whether for good (MOVED), and the host and port; (False, None) for what is no redirection."""
    names = [cls.__name__ for cls in type(error).__mro__]
    if "AskError" not in names:
        return False, None
    found: Any = error
    return "MovedError" in names, (found.host, found.port)
