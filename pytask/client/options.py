"""The base of both clients: the partitions, and a driver that reaches them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import attrs

from pytask.adapters.redis.address import UNSET, given
from pytask.client.lazy import fleet_metrics
from pytask.client.partitions import CONNECT_TIMEOUT, MAX_DATA, TIMEOUT, Partitions, partitions_of

if TYPE_CHECKING:
    from pytask.client.fleet_metrics import FleetMetrics

S = TypeVar("S")


class ClientOptions(Generic[S]):
    """The options that both clients take."""

    _make_driver: Callable[[Any, Partitions, float, float], S]
    _fleet: FleetMetrics | None = None

    @property
    def _metrics(self) -> FleetMetrics:
        """What this client remembers between two pages of metrics."""
        if self._fleet is None:
            self._fleet = fleet_metrics.FleetMetrics()
        return self._fleet

    def __init__(  # noqa: PLR0913 - the options
        self,
        source: Any = UNSET,
        *,
        namespace: str = "",
        partitions: int = 1,
        timeout: float = TIMEOUT,
        connect_timeout: float = CONNECT_TIMEOUT,
        max_data: int = MAX_DATA,
        keep_stopped: int | None = None,
        name: str | None = None,
    ) -> None:
        """Connects with the first call."""
        self._partitions = partitions_of(
            namespace, partitions, max_data=max_data, keep_stopped=keep_stopped, name=name
        )
        self._driver = self._make_driver(given(source), self._partitions, timeout, connect_timeout)

    @classmethod
    def over(cls, driver: S, partitions: Partitions) -> Self:
        """A client that shares its driver with others."""
        made = cls.__new__(cls)
        made._partitions, made._driver = partitions, driver  # noqa: SLF001 - of this class
        return made

    def named(self, name: str) -> Self:
        """A client that shares the connections of this one, and acts under another name.

        Args:
            name: Shown in the history of tasks that it steers, 64 bytes of it.
        """
        return self.over(self._driver, attrs.evolve(self._partitions, name=name))
