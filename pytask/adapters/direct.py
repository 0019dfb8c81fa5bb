"""Single commands on connections of a client's pool, without what the library does about each.

The pool looks at a connection before it hands it out, and the library takes notes of each command: that
costs as much as a quick command.  Those that were used just now are kept aside, and used without a look.
"""

from __future__ import annotations

import inspect
import os
import time
from typing import Any

WARM = 0.5  # seconds for which a connection counts as good without a look


def direct(client: Any) -> Any:
    """What sends the commands of a daemon's own client: `Direct`, or the client itself, if it has no pool."""
    return Direct(client) if hasattr(client, "connection_pool") else client


class Direct:
    """Replies come as the server sent them: none of the library's own readings of them is applied."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._pool = client.connection_pool
        self._warm: list[tuple[Any, float, int]] = []
        # Older releases want the name of the command, newer ones warn of it.
        needs = inspect.signature(self._pool.get_connection).parameters.get("command_name")
        self._words = ("_",) if needs is not None and needs.default is needs.empty else ()

    def execute_command(self, *words: Any) -> Any:
        """The reply; raises the library's errors."""
        connection = self._take()
        try:
            connection.send_command(*words)
            reply = connection.read_response()
        except Exception as error:
            # No primary any more: the next command is to ask who is.
            if is_reply(error) and "READONLY" not in str(error):
                self._keep(connection)
            else:
                self._drop(connection)
            raise
        except BaseException:
            self._drop(connection)
            raise
        self._keep(connection)
        return reply

    def pipeline(self, *, transaction: bool) -> Any:
        """The library's own."""
        self.close()  # it takes a connection from the pool: not one more
        return self._client.pipeline(transaction=transaction)

    def close(self) -> None:
        """Let go of what is kept aside."""
        while self._warm:
            self._pool.release(self._warm.pop()[0])

    def _take(self) -> Any:
        try:
            connection, used, pid = self._warm.pop()
        except IndexError:
            return self._pool.get_connection(*self._words)
        if pid != os.getpid():
            return self._pool.get_connection(*self._words)  # of the parent: it is not ours to use or to close
        if time.monotonic() - used > WARM:
            self._pool.release(connection)
            return self._pool.get_connection(*self._words)
        return connection

    def _keep(self, connection: Any) -> None:
        self._warm.append((connection, time.monotonic(), os.getpid()))

    def _drop(self, connection: Any) -> None:
        connection.disconnect()
        self._pool.release(connection)


def is_reply(error: Exception) -> bool:
    """Whether the server answered with this error, so that the connection is good."""
    return any(cls.__name__ == "ResponseError" for cls in type(error).__mro__)
