"""What both clients are made of: the places of the tasks, and a shell that reaches them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar

from pytask.adapters.redis.address import UNSET, given
from pytask.client.partitions import CONNECT_TIMEOUT, MAX_DATA, TIMEOUT, Places, places_of

S = TypeVar("S")


class Face(Generic[S]):
    """The options that both clients take."""

    _make_shell: Callable[[Any, Places, float, float], S]

    def __init__(  # noqa: PLR0913 - what there is to choose
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
        """Connects at the first call."""
        self._places = places_of(
            namespace, partitions, max_data=max_data, keep_stopped=keep_stopped, name=name
        )
        self._shell = self._make_shell(given(source), self._places, timeout, connect_timeout)

    @classmethod
    def over(cls, shell: S, places: Places) -> Self:
        """A client whose shell others use, too."""
        made = cls.__new__(cls)
        made._places, made._shell = places, shell  # noqa: SLF001 - our own
        return made
