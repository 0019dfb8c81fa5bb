"""A connection of an asyncio cluster client, which records what a call has sent.

The client of the library redirects and asks several nodes: the record, in a context variable, says afterwards
whether a node may have executed the command.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import attrs

from pytask.adapters.redis.coroutine_calls import cancels, check_cancel, is_reset
from pytask.adapters.redis.task_connection import REFUSED, names_of

if TYPE_CHECKING:
    Base = Any
else:
    Base = object

# Errors of a node that has not executed the command.
ELSEWHERE = REFUSED | {"MovedError", "AskError", "TryAgainError", "ClusterDownError", "MasterDownError"}
ASKING = b"*1\r\n$6\r\nASKING\r\n"


@attrs.define(eq=False)
class Sent:
    """What one call has sent."""

    limit: Callable[[float | None], float | None]
    batch: bool  # of a pipeline
    unanswered: set[Any] = attrs.Factory(set)  # connections
    executed: bool = False
    asking: bool = False  # a node has said so of the next command
    cut_short: bool = False  # not all was sent

    @contextlib.contextmanager
    def single(self) -> Iterator[None]:
        """While one command of a pipeline is sent alone."""
        before, self.batch = self.batch, False
        try:
            yield
        finally:
            self.batch = before

    @property
    def matters(self) -> bool:
        """Whether a node may have executed it."""
        return self.executed or bool(self.unanswered)


current_sent: ContextVar[Sent | None] = ContextVar("pytask_sent", default=None)


class LentConnection(Base):  # type: ignore[misc]
    """A connection to a node that records what was sent; an error before that is harmless."""

    _greeting = False
    _batch = False
    _given: float | None = None  # its own timeout
    cut_short = False  # its last command: old releases of the library do not release it then

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._given = self.socket_timeout

    def pack_command(self, *args: Any) -> Any:
        """As in the library."""
        self._batch = False
        return super().pack_command(*args)

    def pack_commands(self, commands: Any) -> Any:
        """As in the library."""
        packed = super().pack_commands(commands)
        self._batch = True
        return packed

    async def connect(self) -> None:
        """As in the library."""
        self._greeting, self.socket_timeout = True, self._given
        try:
            await super().connect()
        finally:
            self._greeting = False

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:  # noqa: FBT002 - the signature of the library
        """As in the library, on a connection that was just checked."""
        if self._greeting:
            await super().send_packed_command(command, check_health)
            return
        sent = current_sent.get()
        self.cut_short = False
        try:
            await self._send(command, sent)
        except BaseException:
            self.cut_short = True
            if sent is not None:
                sent.cut_short = True
            raise

    async def _send(self, command: Any, sent: Sent | None) -> None:
        before = cancels()
        if self.is_connected and await self._ended():
            await self.disconnect(nowait=True)
        await self.connect()
        self.socket_timeout = self._given if sent is None else sent.limit(self._given)
        if sent is not None and not _is_asking(command):
            await self._ask(sent)
            sent.unanswered.add(self)
        await super().send_packed_command(command, check_health=False)
        try:
            check_cancel(before)
        except asyncio.CancelledError:
            await self.disconnect(nowait=True)  # a reply is on its way
            raise

    async def _ended(self) -> bool:
        look = getattr(self, "can_read", None) or self.can_read_destructive  # the name in old releases
        try:
            return is_reset(self) or bool(await look())
        except Exception:  # noqa: BLE001 - whatever it is, the connection is of no use
            return True

    async def _ask(self, sent: Sent) -> None:
        """The library sends ASKING on any connection to the node; it matters on this one only."""
        if sent.asking and not self._batch:
            await super().send_packed_command([ASKING], check_health=False)
            await super().read_response()
            sent.asking = False

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """As in the library."""
        sent = None if self._greeting else current_sent.get()
        try:
            reply = await super().read_response(*args, **kwargs)
        except Exception as error:
            if sent is not None:
                self._failed(sent, names_of(error))
            raise
        if sent is not None and self in sent.unanswered:
            sent.executed = True
        return reply

    def _failed(self, sent: Sent, names: set[str]) -> None:
        sent.asking = "AskError" in names and "MovedError" not in names  # one is a subclass of the other
        if names & ELSEWHERE:
            if not self._batch:
                sent.unanswered.discard(self)
        elif "ResponseError" in names:
            sent.executed = True


def _is_asking(command: Any) -> bool:
    return bool(command == [ASKING])
