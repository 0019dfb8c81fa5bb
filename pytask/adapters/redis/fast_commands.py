"""Commands on connections of a client's pool, without what the library does about each.

The pool looks at a connection before it hands it out, and the library takes notes of each command: that
costs as much as a quick command.  Those that were used just now are kept aside, and used without a look.
"""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Sequence
from typing import Any

WARM = 0.5  # seconds for which a connection counts as good without a look


def direct(client: Any) -> Any:
    """What sends the commands of a client: `Direct`, or the client itself, if it has no such pool."""
    pooled = hasattr(getattr(client, "connection_pool", None), "get_connection")
    return Direct(client) if pooled else client


class Direct:
    """Replies come as the server sent them: none of the library's own readings of them is applied."""

    def __init__(self, client: Any) -> None:
        self._pool = client.connection_pool
        self._warm: list[tuple[Any, float, int]] = []
        # Older releases want the name of the command, newer ones warn of it.
        needs = inspect.signature(self._pool.get_connection).parameters.get("command_name")
        self._words = ("_",) if needs is not None and needs.default is needs.empty else ()
        self._renews = hasattr(self._pool, "re_auth_callback")

    def execute_command(self, *words: Any) -> Any:
        """The reply; raises the library's errors."""
        (reply,) = self.send_all([words])
        if isinstance(reply, Exception):
            raise reply
        return reply

    def send_all(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The replies of commands that are sent together; errors of the server stand in their places."""
        connection = self._take()
        try:
            if len(commands) == 1:
                connection.send_command(*commands[0])
            else:
                connection.send_packed_command(connection.pack_commands(commands))
            replies = [_reply(connection) for _ in commands]
        except BaseException:
            self._drop(connection)  # an unread reply would be the next command's
            raise
        if any(isinstance(reply, Exception) and _is_last(reply) for reply in replies):
            self._drop(connection)
        else:
            self._warm.append((connection, time.monotonic(), os.getpid()))
        return replies

    def close(self) -> None:
        """Let go of what is kept aside."""
        while self._warm:
            self._release(self._warm.pop()[0])

    def disconnect(self) -> None:
        """Drop all connections of the pool.

        None of them is kept aside: one that is used again without the pool would not ask the sentinels who
        is primary now, but go back to where it was.
        """
        self.close()
        self._pool.disconnect()

    def _take(self) -> Any:
        try:
            connection, used, pid = self._warm.pop()
        except IndexError:
            return self._pool.get_connection(*self._words)
        if pid != os.getpid():
            return self._pool.get_connection(*self._words)  # of the parent: it is not ours to use or to close
        if self._renews and not self._logged_in(connection):
            return self._pool.get_connection(*self._words)
        if time.monotonic() - used > WARM:
            self._release(connection)
            return self._pool.get_connection(*self._words)
        return connection

    def _logged_in(self, connection: Any) -> bool:
        """Log in with a token that came while the connection was kept; False if it was dropped instead.

        A new connection takes the credentials of now: a token that was replaced meanwhile does no harm.
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
        if self._renews:  # else the pool would log in now, even where nobody answers
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
    """Whether the connection is of no use after this reply.

    It leads to no primary any more, so that the next command is to ask who is; or the server closes it.
    """
    return "READONLY" in str(error) or "Protocol error" in str(error)


def is_reply(error: Exception) -> bool:
    """Whether the server answered with this error, so that the connection is good."""
    return any(cls.__name__ == "ResponseError" for cls in type(error).__mro__)
