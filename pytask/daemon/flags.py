"""The flags of a daemon, and settings with their origin."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import attrs

from pytask.adapters.redis.address import hide_password

HANDED_URL = "PYTASK_SUPERVISED_URL"  # from a supervisor to its children, for --redis


class Value(NamedTuple):
    """The value of a setting and its origin."""

    value: Any
    origin: str
    given: bool = True  # False: the default
    private: bool = False  # of an address: that of a directory's private server
    address: bool = False  # a Redis address, possibly with a password

    @property
    def shown(self) -> str:
        """The value as `pytask config` prints it, without a password."""
        if isinstance(self.value, str):
            return hide_password(self.value) if self.address or "://" in self.value else self.value
        words: dict[Any, str] = {True: "true", False: "false", None: "none"}
        return words[self.value] if isinstance(self.value, bool | None) else str(self.value)


@attrs.frozen(kw_only=True)
class Flags:
    """The command line; None: not given."""

    redis: str | None = None
    embedded: bool = False
    data_dir: Path | None = None
    max_tasks: int | None = None
    monitor: bool = True
    name: str | None = None
    namespace: str | None = None
    partitions: int | None = None
    log_level: str | None = None
    log_format: str | None = None
    rebalance: float | None = None
    start_rate: float | None = None
    drain: float | None = None
    failover: float | None = None
    task_logs: int | None = None
    metrics: str | None = None
    traces: bool | None = None
    time_scale: float | None = None
    supervised: str | None = None
    standby: bool = False
    run_dir: str | None = None
    private: bool | None = None  # whether `redis` is a directory's private server
    ambient: Mapping[str, Value] = attrs.Factory(dict)  # settings of file and environment, for the app
