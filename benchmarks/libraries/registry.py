"""All rows, by name."""

from __future__ import annotations

from benchmarks.libraries import brokers, databases, protocols, tools, web
from benchmarks.libraries.cases import CASES, Case

__all__ = ["ROWS", "Case", "brokers", "databases", "protocols", "tools", "web"]

ROWS = dict(sorted(CASES.items(), key=lambda row: row[0].lower()))
