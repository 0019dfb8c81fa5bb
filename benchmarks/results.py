"""What was measured: rows with their bars, kept between the runs of the parts, and printed."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple


class Row(NamedTuple):
    """A measure, what was seen, and the bar it is held to ("<= 5", ">= 1", or nothing)."""

    measure: str
    seen: str
    bar: str = ""

    @property
    def verdict(self) -> str:
        """`met` or `missed`; empty without a target."""
        bar = re.match(r"(<=|>=|<|>)\s*([\d.,]+)", self.bar)
        seen = re.match(r"[\d.,]+", self.seen)
        if not bar or not seen:
            return ""
        limit, value = (float(text.replace(",", "").rstrip(".")) for text in (bar[2], seen[0]))
        low = bar[1].startswith("<")
        return "met" if (value <= limit if low else value >= limit) else "missed"


class Results:
    """A JSON file; each part of the benchmarks replaces what it found the last time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def keep(self, part: str, value: Any) -> None:
        """Write at once: the next part may fail.  The load of the machine goes with it."""
        self.found[part] = value | {"load": os.getloadavg()[0], "at": f"{dt.datetime.now(dt.UTC):%H:%M}"}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.found, indent=1))

    def circumstances(self, part: str) -> str:
        """When a part was measured and what else the machine did; a `note` in the file says it better."""
        found = self.found.get(part, {})
        if "load" in found:
            busy = f"load of the machine, own processes included: {found['load']:.0f}"
            return f"Measured until {found['at']} UTC; {busy}.\n"
        return f"{found['note']}\n" if "note" in found else ""

    def rows(self, part: str) -> list[Row]:
        """The rows of a part."""
        return [Row(*row) for row in self.found.get(part, {}).get("rows", ())]


def show(rows: list[Row]) -> None:
    """Print a table."""
    width = max(len(row.measure) for row in rows)
    print(f"\n{'measure':<{width}}  {'seen':>12}  {'bar':<12}")
    for row in rows:
        print(f"{row.measure:<{width}}  {row.seen:>12}  {row.bar:<12}  {row.verdict}".rstrip())
