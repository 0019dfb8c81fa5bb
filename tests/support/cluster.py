"""A real Redis Cluster for the tests: valkey nodes on loopback, formed by commands."""

import contextlib
import socket
import time
from typing import NamedTuple

from tests.support.servers import HOST, READY_SECONDS, start_server

SLOTS = 16384


class Row(NamedTuple):
    """One line of CLUSTER NODES."""

    id: str
    port: int
    master: bool
    of: str
    failing: bool
    slots: list


class Cluster:
    """Nodes of a real cluster: `masters` own the slots in equal parts, the others are their replicas."""

    def __init__(self, nodes, masters):
        self.nodes = nodes
        self._masters = masters

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        for node in self.nodes:
            node.close()

    def ask(self, node, *words):
        """The whole reply as text, an error's too; OSError if the node is dead."""
        parts = [str(word).encode() for word in words]
        request = b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)
        with (
            socket.create_connection((HOST, node.port), timeout=20) as connection,
            connection.makefile("rb") as reply,
        ):
            connection.sendall(request)
            head = reply.readline().decode()
            if head.startswith("$"):
                return reply.read(int(head[1:])).decode()
            return head[1:].strip()

    def owner(self, slot):
        """The living node that owns the slot, or None."""
        for node in self.nodes:
            if node.alive:
                for row in self.rows(node):
                    if row.master and not row.failing and any(a <= slot <= b for a, b in row.slots):
                        return self.by_port(row.port)
        return None

    def replicas_of(self, node):
        own = self.node_id(node)
        return [self.by_port(row.port) for row in self.rows(node) if row.of == own]

    def node_id(self, node):
        return self.ask(node, "CLUSTER", "MYID")

    def by_port(self, port):
        return next(node for node in self.nodes if node.port == port)

    def rows(self, node):
        """What a node knows of all nodes."""
        return [_row(line) for line in self.ask(node, "CLUSTER", "NODES").splitlines() if line.strip()]

    def is_whole(self):
        """Whether every living node sees all slots served, its primary linked, and nobody failing."""
        return all(self._sees_all_well(node) for node in self.nodes if node.alive)

    def _sees_all_well(self, node):
        info = self.ask(node, "CLUSTER", "INFO")
        replication = self.ask(node, "INFO", "replication")
        linked = "role:master" in replication or "master_link_status:up" in replication
        whole = "cluster_state:ok" in info and f"cluster_slots_ok:{SLOTS}" in info
        return whole and linked and not any(row.failing for row in self.rows(node))

    def wait_whole(self):
        def whole():
            with contextlib.suppress(OSError):
                return self.is_whole()
            return False

        _wait(whole, "the cluster is whole")

    def form(self):
        """Slots, acquaintance, replicas."""
        masters, others = self.nodes[: self._masters], self.nodes[self._masters :]
        edges = [round(place * SLOTS / len(masters)) for place in range(len(masters) + 1)]
        for place, master in enumerate(masters):
            self.ask(master, "CLUSTER", "ADDSLOTSRANGE", edges[place], edges[place + 1] - 1)
            self.ask(master, "CLUSTER", "SET-CONFIG-EPOCH", place + 1)
        for node in self.nodes[1:]:
            self.ask(node, "CLUSTER", "MEET", HOST, masters[0].port)
        _wait(lambda: all(self._knows_all(node) for node in self.nodes), "the nodes meet")
        for place, replica in enumerate(others):
            master = self.node_id(masters[place % len(masters)])
            _wait(lambda r=replica, m=master: "OK" in self.ask(r, "CLUSTER", "REPLICATE", m), "a replica")
        self.wait_whole()

    def _knows_all(self, node):
        rows = self.rows(node)
        return len(rows) == len(self.nodes) and not any(row.failing for row in rows)


def start_cluster(masters=3, replicas=1, *extra_args, appendonly=False):
    """A running cluster that fails over after three seconds; a lost shard does not close the others.

    Sooner, and a busy machine would make failovers of its own.
    """
    words = ["--cluster-enabled", "yes", "--cluster-node-timeout", 3000]
    words += ["--cluster-require-full-coverage", "no", "--cluster-replica-validity-factor", 0]
    words += ["--repl-diskless-sync-delay", 0, *extra_args]
    cluster = Cluster([], masters)
    with contextlib.ExitStack() as undo:
        undo.enter_context(cluster)
        while len(cluster.nodes) < masters * (1 + replicas):
            cluster.nodes.append(start_server("valkey", *words, appendonly=appendonly))
        cluster.form()
        undo.pop_all()
    return cluster


def _row(line):
    name, address, flags, of, *_others = line.split()
    spans = [part.split("-") for part in line.split()[8:] if not part.startswith("[")]
    failing = "fail" in flags or "handshake" in flags or "disconnected" in line
    port = int(address.partition("@")[0].rpartition(":")[2])
    return Row(name, port, "master" in flags, of, failing, [(int(s[0]), int(s[-1])) for s in spans])


def _wait(condition, what):
    deadline = time.monotonic() + 2 * READY_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {2 * READY_SECONDS} s: {what}")
        time.sleep(0.05)
