"""A client for one slot of a Redis Cluster: one connection to the node of the slot, also after it moves.

All keys of a partition are in one slot.  The cluster clients of the libraries would open connections to every
node, and retry calls for longer than a call may take.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

Address = tuple[str, int]
Command = tuple[Any, ...]

REDIRECTS = 5  # redirections followed for one call
PROBE_SHARE = 3  # hanging nodes that a search may ask within its time limit


class Topology:
    """The known nodes of all replies, and the slot owners of the latest one."""

    def __init__(self, nodes: list[Address], remap: Callable[[str, int], Address]) -> None:
        self.nodes = nodes
        self._remap = remap

    def locate(self, slot: int, connect: Callable[[Address, float], Any], limit: float) -> Address:
        """Ask the nodes in turn for the owner of the slot, for about `limit` seconds."""
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
        """Store a reply of CLUSTER SLOTS; returns the owner of the slot, None without one."""
        owner = None
        found: list[Address] = []
        for first, last, *nodes in ranges:
            addresses = [self.address(node[0], node[1], asked) for node in nodes]
            found += addresses
            if first <= slot <= last:
                owner = addresses[0]
        # Nodes that answered before stay first; nodes that left the cluster are removed.
        known = [node for node in self.nodes if node in found or node == asked]
        self.nodes = known + [node for node in dict.fromkeys(found) if node not in known]
        return owner

    def _last(self, address: Address) -> None:
        with contextlib.suppress(ValueError):
            self.nodes.remove(address)
            self.nodes.append(address)

    def address(self, host: Any, port: int, asked: Address) -> Address:
        """An address as reported by a node; an unknown host means the node itself."""
        name = host.decode() if isinstance(host, bytes) else host
        return self._remap(name if name not in (None, "", "?") else asked[0], int(port))


class SlotClient:
    """The part of a client that stores, queues and feeds use.  For one greenlet, except `disconnect`.

    A redirected command was not executed, so it is resent at once; other errors are left to the caller.
    """

    def __init__(
        self, slot: int, topology: Topology, connect: Callable[[Address, float | None], Any], timeout: float,
        *, packs: bool = False,
    ) -> None:  # fmt: skip
        self.packs = packs  # whether its connections send prepacked commands
        self._slot = slot
        self._topology = topology
        self._connect = connect
        self._timeout = timeout
        self._client: Any = None
        self._address: Address = ("", 0)

    def execute_command(self, *words: Any) -> Any:
        """The reply of the slot's node, or of the node to which it redirects."""
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

    def pipeline(self, transaction: bool = False) -> Pipeline:  # noqa: ARG002, FBT002 - the signature of the library
        """A pipeline, never a transaction."""
        return Pipeline(self)

    def send_all(self, commands: list[Command]) -> list[Any]:
        """The replies, including errors; redirected commands are resent, with the WAIT that follows them."""
        replies = _together(self._node(), commands)
        for place, reply in enumerate(replies):
            if isinstance(reply, Exception) and redirected(reply)[1] is not None:
                end = place + 1
                while end < len(commands) and _is_wait(commands[end]):
                    end += 1
                replies[place:end] = self._again(commands[place:end], replies[place:end])
        return replies

    def _again(self, commands: list[Command], replies: list[Any]) -> list[Any]:
        """Resend commands, the first of which was redirected, on one connection to its node."""
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
        """A subscription at the slot's node; a cluster sends published messages to every node."""
        return self._node().pubsub(**options)

    def info(self, section: str) -> Any:
        """INFO of the slot's node."""
        return self._node().info(section)

    def disconnect(self) -> None:
        """Drop the connection; the next call searches the slot's node again."""
        client, self._client = self._client, None
        if client is not None:
            client.connection_pool.disconnect()

    def _node(self) -> Any:
        if self._client is None:
            # A search and a call together take no longer than the two calls of a renewal.
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
        """Add a command."""
        self._commands.append(words)

    def execute(self, raise_on_error: bool = False) -> list[Any]:  # noqa: ARG002, FBT002 - the signature of the library
        """Send the commands; errors are returned in place of replies."""
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
    # WAIT refers to the writes of its own connection: elsewhere it would count replicas without them.
    return str(words[0]).lower() == "wait"


def redirected(error: Exception) -> tuple[bool, tuple[str, int] | None]:
    """Whether it is permanent (MOVED), and the address; (False, None) if it is no redirection."""
    names = [cls.__name__ for cls in type(error).__mro__]
    if "AskError" not in names:
        return False, None
    found: Any = error
    return "MovedError" in names, (found.host, found.port)
