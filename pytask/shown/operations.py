"""Runs an operation that is not a method of the client with the client's connections."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pytask.client.operations import Op
from pytask.client.partitions import Partitions
from pytask.client.reader import Reader

T = TypeVar("T")


def run(client: Reader, operation: Callable[[Partitions], Op[T]]) -> T:
    """The result of an operation for the partitions of this client."""
    return client._driver.run(operation(client._partitions))  # noqa: SLF001 - the one place
