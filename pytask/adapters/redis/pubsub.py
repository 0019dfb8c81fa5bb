"""Control messages from pub/sub: one subscription for all tasks, in one greenlet."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from pytask.adapters.keys import Keys
from pytask.adapters.redis import clients, errors
from pytask.adapters.redis.buffered import Buffered
from pytask.domain.errors import Unavailable
from pytask.domain.messages import STACKS, STARTED, Command, read_command
from pytask.domain.record import Notice
from pytask.logger import get_logger

log = get_logger(__name__)

BATCH = 256
WORD = 20  # bytes of a payload that may be a misspelt control word
RUBBISH = 4096  # messages of one read, including those of other programs


class RedisFeed:
    """Listens on one connection.  `Store.ping` publishes the messages that prove that it receives."""

    def __init__(
        self, listener: Any, keys: Keys, session: str, *, database: int | None = None, timeout: float = 3.0
    ) -> None:
        self.behind = False
        self.database = database
        self._timeout = timeout
        self._listener = listener
        self._stale = False
        self._keys = keys
        self._ping = keys.ping_channel(session)
        self._pubsub: Any = None
        self._buffered = Buffered(keys.control_pattern)

    def open(self) -> None:
        """Subscribe with a new subscription object; one that had an error is discarded, never reused."""
        self.close()
        self._stale = False
        self._pubsub = self._listener.pubsub()
        try:
            if self.database is not None:
                self._announce(self.database)
            self._pubsub.psubscribe(self._keys.control_pattern)
            self._pubsub.subscribe(self._ping, self._keys.hint_channel)
        except Exception as error:
            raise errors.translate(error) from error

    def _announce(self, database: int) -> None:
        # Wait for the confirmation first: a later query for the db numbers, on any connection, then
        # includes this subscription.
        self._pubsub.subscribe(self._keys.database_channel(database))
        if self._pubsub.get_message(timeout=self._timeout) is None:
            raise Unavailable("the subscription is not confirmed")

    def read(self, timeout: float) -> list[Notice]:
        """The messages received within `timeout` seconds, at most 256."""
        if self._pubsub is None:
            raise Unavailable("not subscribed")
        if self._stale:
            raise Unavailable("another server answers than the one of this subscription")
        notices: list[Notice] = []
        left = RUBBISH
        self.behind = False
        try:
            for channel, data in self._messages(timeout):
                notice = self._notice(channel, data)
                if notice is not None:
                    notices.append(notice)
                left -= 1
                self.behind = len(notices) == BATCH or not left
                if self.behind:
                    break  # an endless stream of other messages must not keep this loop running
        except Exception as error:
            raise errors.translate(error) from error
        return notices

    def _messages(self, timeout: float) -> Iterator[tuple[bytes, bytes]]:
        """Channel and data of those that arrive within the timeout, and of those that are there then."""
        message = self._pubsub.get_message(ignore_subscribe_messages=True, timeout=timeout)
        while message is not None:
            yield message["channel"], message["data"]
            yield from self._buffered.messages(self._pubsub.connection)
            message = self._pubsub.get_message(ignore_subscribe_messages=True, timeout=0)

    def reconnect(self) -> None:
        """Make the next read fail, so that the feed is reopened."""
        self._stale = True

    def close(self) -> None:
        """Drop the connection."""
        if self._pubsub is not None:
            connection = self._pubsub.connection
            if hasattr(connection, "set_re_auth_token"):  # otherwise the pool would authenticate now
                connection.set_re_auth_token(None)
            self._pubsub.close()
            self._pubsub = None
        clients.disconnect(self._listener)

    def _notice(self, sender: bytes, data: bytes) -> Notice | None:
        channel = sender.decode(errors="replace")
        if channel == self._ping:
            return Notice("ping")
        if channel == self._keys.hint_channel:
            return Notice("parked", data.decode(errors="replace"))
        if data == STARTED:
            return Notice("started", self._keys.task_of_control(channel))
        if data == STACKS:
            return Notice("stacks", self._keys.task_of_control(channel))
        command = read_command(data)
        if command is None:
            _warn_of_word(bytes(data[:WORD]), channel)
            return None
        return Notice("control", self._keys.task_of_control(channel), command)


@lru_cache(maxsize=256)  # every worker receives the word, and a script may repeat it for each task
def _warn_of_word(word: bytes, channel: str) -> None:
    if len(word) < WORD and word.isalpha():  # otherwise an event of a task whose id ends like this
        log.warning(
            "[PT043] ignored %r on %r, which is not a control word: use %s",
            word.decode(), channel[:80], ", ".join(Command),
        )  # fmt: skip
