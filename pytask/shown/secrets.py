"""Masks the fields of shown data that task classes declare secret."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytask.client.reader import Reader
    from pytask.client.records import Worker

UNREADABLE = "(not shown: it is not JSON, and its function has secret fields)"


def fields_of(client: Reader, function: str) -> tuple[str, ...]:
    """The secret fields of a function, as reported by the workers."""
    from pytask.domain.errors import Denied

    try:
        workers = client.workers()
    except Denied:  # without the right to read the workers, they are unknown
        return ()
    return fields_in(workers, function)


def fields_in(workers: Iterable[Worker], function: str) -> tuple[str, ...]:
    """The same, of workers that were read."""
    return tuple(sorted({field for worker in workers for field in worker.secret.get(function, ())}))


def all_fields(client: Reader) -> tuple[str, ...]:
    """The secret fields of all functions: an event does not name its function."""
    from pytask.domain.errors import Denied

    try:
        workers = client.workers()
    except Denied:
        return ()
    return tuple(sorted({field for one in workers for fields in one.secret.values() for field in fields}))


def masked_text(raw: bytes | None, fields: tuple[str, ...]) -> bytes | None:
    """Data or output with its secret fields masked."""
    from pytask.domain.secrets import masked

    if raw is None or not fields:
        return raw
    try:
        value: Any = json.loads(raw)
    except (ValueError, RecursionError):
        return UNREADABLE.encode()
    return json.dumps(masked(value, fields), ensure_ascii=False, separators=(",", ":")).encode()
