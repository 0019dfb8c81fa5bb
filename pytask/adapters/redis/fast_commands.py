"""Commands on connections of a client's pool, without the overhead of the library.

The pool checks a connection before it returns it, and the library records each command, which costs as much
as a fast command.  Recently used connections are kept here and used without a check.
"""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Sequence
from typing import Any

WARM = 0.5  # seconds for which a connection is used without a check


def direct(client: Any) -> Any:
    """The sender of a client's commands: `Direct`, or the client itself without a suitable pool."""
    pooled = hasattr(getattr(client, "connection_pool", None), "get_connection")
    return Direct(client) if pooled else client


class Direct:
    """Replies are returned as sent by the server, without the conversions of the library."""

    def __init__(self, client: Any) -> None:
        self._pool = client.connection_pool
        self._warm: list[tuple[Any, float, int]] = []
        # Older releases require the name of the command, newer ones warn about it.
        needs = inspect.signature(self._pool.get_connection).parameters.get("command_name")
        self._words = ("_",) if needs is not None and needs.default is needs.empty else ()
        self._renews = hasattr(self._pool, "re_auth_callback")

    def execute_command(self, *words: Any) -> Any:
        """The reply.  Raises the errors of the library."""
        (reply,) = self.send_all([words])
        if isinstance(reply, Exception):
            raise reply
        return reply

    def send_all(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The replies of commands sent together; errors of the server are items of the list."""
        connection = self._take()
        try:
            if len(commands) == 1:
                connection.send_command(*commands[0])
            else:
                connection.send_packed_command(connection.pack_commands(commands))
            replies = [_reply(connection) for _ in commands]
        except BaseException:
            self._drop(connection)  # the next command would read an unread reply
            raise
        if any(isinstance(reply, Exception) and _is_last(reply) for reply in replies):
            self._drop(connection)
        else:
            self._warm.append((connection, time.monotonic(), os.getpid()))
        return replies

    def close(self) -> None:
        """Return the kept connections to the pool."""
        while self._warm:
            self._release(self._warm.pop()[0])

    def disconnect(self) -> None:
        """Drop all connections of the pool.

        None is kept: a connection that is reopened without the pool would return to its old server instead of
        asking the sentinels for the current primary.
        """
        self.close()
        self._pool.disconnect()

    def _take(self) -> Any:
        try:
            connection, used, pid = self._warm.pop()
        except IndexError:
            return self._pool.get_connection(*self._words)
        if pid != os.getpid():
            return self._pool.get_connection(
                *self._words
            )  # of the parent process: it must not be used or closed here
        if self._renews and not self._logged_in(connection):
            return self._pool.get_connection(*self._words)
        if time.monotonic() - used > WARM:
            self._release(connection)
            return self._pool.get_connection(*self._words)
        return connection

    def _logged_in(self, connection: Any) -> bool:
        """Authenticate with a token that arrived while the connection was kept; False if it was dropped.

        A new connection uses the current credentials, so an outdated token does no harm.
        """
        try:
            connection.re_auth()
        except BaseException as error:
            self._drop(connection)
            if not isinstance(error, Exception):
                raise
            return False
        return True

    def _drop(self, connection: Any) -> None:
        connection.disconnect()
        self._release(connection)

    def _release(self, connection: Any) -> None:
        if self._renews:  # otherwise the pool would authenticate now, even without a server
            connection.set_re_auth_token(None)
        self._pool.release(connection)


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except Exception as error:
        if not is_reply(error):
            raise
        return error


def _is_last(error: Exception) -> bool:
    """Whether the connection is useless after this reply.

    Its server is no longer the primary, so the next command must find it; or the server closes it.
    """
    return "READONLY" in str(error) or "Protocol error" in str(error)


def is_reply(error: Exception) -> bool:
    """Whether the server sent this error, so the connection works."""
    return any(cls.__name__ == "ResponseError" for cls in type(error).__mro__)
