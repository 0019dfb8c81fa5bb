"""One provider of tokens for all clones of a client: a new token reaches the connections of each.

redis-py's `StreamingCredentialProvider` notifies a listener of each new token.  That of redis-entraid keeps
only the last listener, others keep every listener forever: a clone with its own listener would disconnect the
client of the user, or leak.  Therefore one listener serves all clones and refers to them weakly.
"""

from __future__ import annotations

import contextlib
import importlib
import weakref
from collections.abc import Callable
from typing import Any

from pytask.logger import get_logger

log = get_logger(__name__)


class Shared:
    """The provider of the clones, which wraps that of the user's client."""

    def __init__(self, provider: Any) -> None:
        self._provider = provider
        self._pools: weakref.WeakSet[Any] = weakref.WeakSet()
        self._listeners: set[weakref.WeakMethod[Any]] = set()
        provider.on_next(self._tell)

    def get_credentials(self) -> Any:
        """The current credentials."""
        return self._provider.get_credentials()

    async def get_credentials_async(self) -> Any:
        """The current credentials."""
        return await self._provider.get_credentials_async()

    def is_streaming(self) -> Any:
        """As reported by the provider."""
        return self._provider.is_streaming()

    def on_next(self, callback: Callable[[Any], None]) -> None:
        """Add a listener, a bound method, for the lifetime of its object."""
        self._listeners.add(weakref.WeakMethod(callback, self._listeners.discard))

    def on_error(self, callback: Callable[[Exception], None]) -> None:
        """Errors are handled by the listener of the user's client."""

    def follow(self, pool: Any) -> None:
        """Authenticates the connections of a pool with each new token, for the lifetime of the pool."""
        self._pools.add(pool)

    def _tell(self, token: Any) -> None:
        for pool in list(self._pools):
            _renew(pool, token)
        for one in list(self._listeners):
            listener = one()
            if listener is not None:
                with contextlib.suppress(Exception):  # a failure of one pool does not affect the others
                    listener(token)


def _renew(pool: Any, token: Any) -> None:
    """Idle connections authenticate at once, others before their next use."""
    for attempt in range(2):
        try:
            pool.re_auth_callback(token)
        except Exception as error:  # noqa: BLE001 - the provider and the other pools continue
            log.debug("attempt %d to log in with a new token: %s", attempt + 1, error)
            with contextlib.suppress(Exception):
                pool.disconnect(inuse_connections=False)
        else:
            return


_shared: dict[int, Any] = {}  # by id, since a provider may not be hashable; each keeps its provider alive


def share(arguments: dict[str, Any], client: Any) -> None:
    """Replace a streaming provider in the arguments of a clone of `client` by the shared one."""
    provider = arguments.get("credential_provider")
    if isinstance(provider, Shared) or not _streams(provider):
        return
    if id(provider) not in _shared:
        base = importlib.import_module("redis.credentials").StreamingCredentialProvider
        _shared[id(provider)] = type("SharedProvider", (Shared, base), {})(provider)
    arguments["credential_provider"] = substitute = _shared[id(provider)]
    for pool in _pools_of(client):
        substitute.follow(pool)  # its own listener may have been replaced


def _streams(provider: Any) -> bool:
    return any(cls.__name__ == "StreamingCredentialProvider" for cls in type(provider).__mro__)


def _pools_of(client: Any) -> list[Any]:
    manager = getattr(client, "nodes_manager", None)
    if manager is None:
        return [client.connection_pool]
    made = [node.redis_connection for node in manager.nodes_cache.values()]
    return [one.connection_pool for one in made if one is not None]


def follow(pool: Any) -> None:
    """Notify a pool of new tokens if its credential provider is a shared one."""
    provider = pool.connection_kwargs.get("credential_provider")
    if isinstance(provider, Shared):
        provider.follow(pool)
