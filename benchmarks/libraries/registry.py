"""All rows, by name."""

from __future__ import annotations

from benchmarks.libraries import brokers, coroutines, databases, protocols, tools, web
from benchmarks.libraries.cases import CASES, Case

__all__ = ["ROWS", "Case", "brokers", "coroutines", "databases", "protocols", "tools", "web"]

ROWS = dict(sorted(CASES.items(), key=lambda row: row[0].lower()))
