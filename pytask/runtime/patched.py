"""Whether this process is patched by gevent, and what was imported too early if not."""

from __future__ import annotations

import sys

from gevent import monkey

from pytask.domain.errors import NotPatched

NEEDED = ("socket", "time", "threading")
EARLY = ("redis", "valkey", "requests", "urllib3")


def require_patched() -> None:
    """Raise :class:`NotPatched` unless blocking calls yield to other greenlets here."""
    missing = [name for name in NEEDED if not monkey.is_module_patched(name)]
    if missing:
        early = next((name for name in EARLY if name in sys.modules), "")
        raise NotPatched(early)
