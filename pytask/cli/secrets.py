"""What is masked of the data that a verb shows: the fields that the workers name as secret."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytask.cli.connection import Remote

UNREADABLE = "(not shown: it is no JSON, and its function has secret fields)"


def fields_of(remote: Remote, function: str) -> tuple[str, ...]:
    """The secret fields of a function, as the workers in the registry show them."""
    from pytask.domain.errors import Denied

    try:
        workers = remote.tasks.workers()
    except Denied:  # who may not look at the workers cannot know
        return ()
    return tuple(sorted({field for worker in workers for field in worker.secret.get(function, ())}))


def all_fields(remote: Remote) -> tuple[str, ...]:
    """Those of all functions: an event does not say whose it is."""
    from pytask.domain.errors import Denied

    try:
        workers = remote.tasks.workers()
    except Denied:
        return ()
    return tuple(sorted({field for one in workers for fields in one.secret.values() for field in fields}))


def masked_text(raw: bytes | None, fields: tuple[str, ...]) -> bytes | None:
    """Data or output as it may be shown."""
    from pytask.domain.secrets import masked

    if raw is None or not fields:
        return raw
    try:
        value: Any = json.loads(raw)
    except (ValueError, RecursionError):
        return UNREADABLE.encode()
    return json.dumps(masked(value, fields), ensure_ascii=False, separators=(",", ":")).encode()
