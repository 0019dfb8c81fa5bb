"""The partitions of a namespace, and the options of operations."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from itertools import islice

import attrs

from pytask.adapters.keys import Keys
from pytask.domain.errors import BadData, ConfigError
from pytask.domain.messages import IdFault, read_id
from pytask.domain.partition import namespace_of, partition_of

TIMEOUT = 3.0  # seconds of one call
CONNECT_TIMEOUT = 0.8  # so that a wrong address is reported within a second
UNSURE_MOST = 10_000  # ids with an unconfirmed start that a client remembers
MAX_DATA = 16 * 1024 * 1024  # bytes, the default of workers


@attrs.frozen(kw_only=True)
class Partitions:
    """The options of all operations of one client."""

    namespace: str  # as passed to the client
    keys: tuple[Keys, ...]  # of each partition
    keep_stopped: int | None = None  # 0: `stop` deletes the hash of a task that has not run
    name: str = ""  # of the client, in the history of tasks; "" for `user@host`
    max_data: int = MAX_DATA
    unsure: dict[str, None] = attrs.Factory(dict)  # ids with an unconfirmed start, oldest first

    def mark_unsure(self, ids: Iterable[str]) -> None:
        """Remember ids whose start is unconfirmed: a repeated call must not run them twice."""
        self.unsure.update(dict.fromkeys(ids))
        for task_id in [*islice(self.unsure, max(0, len(self.unsure) - UNSURE_MOST))]:
            del self.unsure[task_id]

    @property
    def who(self) -> str:
        """The name of the client in the history of tasks."""
        return self.name or own_name()

    def of(self, task_id: str) -> int:
        """The partition of a task.  Raises `BadData` for an invalid id."""
        try:
            raw = task_id.encode()
        except (UnicodeEncodeError, AttributeError):
            raise BadData(f"a task id must be a string, not {task_id!r}") from None
        fault = read_id(raw)
        if isinstance(fault, IdFault):
            raise BadData(f"{task_id[:80]!r} cannot be a task id: {fault}")
        return partition_of(task_id, len(self.keys)) if len(self.keys) > 1 else 0

    def group(self, ids: list[str]) -> dict[int, list[str]]:
        """The ids by partition, in order."""
        found: dict[int, list[str]] = {}
        for task_id in ids:
            found.setdefault(self.of(task_id), []).append(task_id)
        return found


def partitions_of(
    namespace: str,
    partitions: int,
    *,
    max_data: int = MAX_DATA,
    keep_stopped: int | None = None,
    name: str | None = None,
) -> Partitions:
    """The partitions of a namespace.  Raises `ConfigError`."""
    if not isinstance(name, str | None):
        raise ConfigError(f"a client's name must be a string, not {name!r}")
    if type(partitions) is not int or partitions < 1:
        raise ConfigError(f"partitions must be a whole number of 1 or more, not {partitions!r}")
    return Partitions(
        namespace=namespace,
        keys=tuple(Keys(namespace_of(namespace, index, partitions)) for index in range(partitions)),
        keep_stopped=keep_stopped,
        max_data=max_data,
        name=name or "",
    )


def own_name() -> str:
    """`user@host` of this process; `host:pid` if its user has no name, as in many containers."""
    host = os.uname().nodename
    try:
        return f"{_user_name(os.getuid())}@{host}"
    except KeyError:
        return f"{host}:{os.getpid()}"


@cache
def _user_name(uid: int) -> str:
    import pwd

    return pwd.getpwuid(uid).pw_name
