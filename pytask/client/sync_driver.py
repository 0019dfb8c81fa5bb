"""The blocking driver: executes operations with a client compatible with redis-py."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from typing import Any, TypeVar

from pytask.adapters.redis import clients, support
from pytask.adapters.redis.fast_commands import Direct, is_reply
from pytask.client.driver import MOST_MESSAGES, Driver, messages_in, translated
from pytask.client.operations import Give, Listen, Op, Words
from pytask.client.partitions import Partitions
from pytask.domain.errors import Unavailable

T = TypeVar("T")


class Subscription:
    """A subscription on its own connection, usable once the server has confirmed all channels."""

    def __init__(self, client: Any, step: Listen, timeout: float) -> None:
        self._client = client
        self._early: list[tuple[bytes, bytes]] = []
        self._pubsub = client.pubsub()
        try:
            if step.channels:
                self._pubsub.subscribe(*step.channels)
            if step.patterns:
                self._pubsub.psubscribe(*step.patterns)
            self._confirm(len(step.channels) + len(step.patterns), timeout)
        except BaseException:
            self.close()
            raise

    def _confirm(self, left: int, timeout: float) -> None:
        until = time.monotonic() + timeout
        while left > 0:
            message = self._pubsub.get_message(timeout=max(0.0, until - time.monotonic()))
            if message is None:
                if time.monotonic() >= until:
                    raise Unavailable(f"the subscription was not confirmed within {timeout:g} s")
            elif message["type"] in ("subscribe", "psubscribe"):
                left -= 1
            else:
                self._early += messages_in(message)

    def receive(self, timeout: float) -> list[tuple[bytes, bytes]]:
        """The messages received within `timeout` seconds."""
        found, self._early = self._early, []
        message = self._pubsub.get_message(timeout=0 if found else timeout)
        while message is not None:
            found += messages_in(message)
            if len(found) >= MOST_MESSAGES:
                break
            message = self._pubsub.get_message(timeout=0)
        return found

    def ping(self) -> None:
        """Ping the server."""
        self._pubsub.ping()

    def close(self) -> None:
        """Drop the connection."""
        self._pubsub.close()
        clients.disconnect(self._client)


class SyncDriver(Driver):
    """Executes operations."""

    def __init__(self, source: Any, partitions: Partitions, timeout: float, connect_timeout: float) -> None:
        self._spaces = [keys.namespace for keys in partitions.keys]
        limits = {"socket_timeout": timeout, "socket_connect_timeout": min(timeout, connect_timeout)}
        self._source = clients.open_client(source, **limits)
        support.check_client(self._source, partitions.namespace)
        self._timeout = timeout
        self._connect_timeout = min(timeout, connect_timeout)
        self.clustered = support.is_cluster(self._source)
        self._topology = clients.topology_of(self._source) if self.clustered else None
        self._locks = [threading.Lock() for _ in self._spaces]
        self._clients: dict[int, Any] = {}
        self._direct: Direct | None = None

    def run(self, op: Op[T]) -> T:
        """The result of an operation."""
        steps = self.steps(op)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                result: T = done.value
                return result

    def steps(self, op: Op[T]) -> Generator[Any, None, T]:
        """The values that an operation yields; returns its result."""
        opened: list[Subscription] = []
        try:
            step = next(op)
            while True:
                if isinstance(step, Give):
                    yield step.value
                    step = op.send(None)
                    continue
                try:
                    answer = self.do(step, opened)
                except Exception as error:  # noqa: BLE001 - translated there
                    step = op.throw(translated(error))
                else:
                    step = op.send(answer)
        except StopIteration as done:
            result: T = done.value
            return result
        finally:
            op.close()
            for subscription in opened:
                subscription.close()

    def close(self) -> None:
        """Drop all connections; new ones are opened on demand."""
        if self._direct is not None:
            self._direct.close()
        for client in list(self._clients.values()):
            clients.disconnect(client)

    def listen(self, step: Listen, opened: list[Any]) -> Subscription:
        """A subscription at the server of the step's partition."""
        subscription = Subscription(self._own(step.partition), step, self._timeout)
        opened.append(subscription)
        return subscription

    def pause(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)

    def send(self, commands: list[tuple[int, Words]]) -> list[Any]:
        """The replies in order."""
        if not self.clustered:
            if len(commands) == 1:
                return self._together(self._direct_of(0), [commands[0][1]])
            return self._together(self._client_of(0), [words for _, words in commands])
        replies: list[Any] = [None] * len(commands)
        for partition in dict.fromkeys(partition for partition, _ in commands):
            mine = [at for at, (other, _) in enumerate(commands) if other == partition]
            with self._locks[partition]:
                client = self._client_of(partition)
                try:
                    found = self._together(client, [commands[at][1] for at in mine])
                except Exception:
                    clients.disconnect(client)  # the slot may have moved to another node
                    raise
            for at, reply in zip(mine, found, strict=True):
                replies[at] = reply
        return replies

    def _together(self, client: Any, commands: list[Words]) -> list[Any]:
        if len(commands) == 1:
            try:
                return [client.execute_command(*commands[0])]
            except Exception as error:
                if is_reply(error):
                    return [error]
                raise
        pipe = client.pipeline(transaction=False)
        for words in commands:
            pipe.execute_command(*words)
        return list(pipe.execute(raise_on_error=False))

    def _client_of(self, partition: int) -> Any:
        if partition not in self._clients:
            self._clients.setdefault(partition, self._own(partition))
        return self._clients[partition]

    def _direct_of(self, partition: int) -> Direct:
        if self._direct is None:
            self._direct = Direct(self._client_of(partition))
        return self._direct

    def _own(self, partition: int) -> Any:
        limits = {"timeout": self._timeout, "connect_timeout": self._connect_timeout, "name": "pytask-client"}
        if self._topology is None:
            return clients.own_client(self._source, **limits)  # type: ignore[arg-type]
        return clients.slot_client(self._source, self._spaces[partition], self._topology, **limits)  # type: ignore[arg-type]
