"""How this very command was called."""

from __future__ import annotations

import sys
from pathlib import Path


def program() -> list[str]:
    """How this very command was called: by its script, or as `python -m pytask`."""
    script = Path(sys.argv[0])
    called = script.name != "__main__.py" and script.is_file() and script.name.startswith("pytask")
    return [sys.executable, str(script)] if called else [sys.executable, "-m", "pytask"]
