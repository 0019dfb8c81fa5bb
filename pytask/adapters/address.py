"""The address of Redis as text.  Imports nothing heavy: the command line shows addresses, too."""

from __future__ import annotations

import re

DEFAULT_URL = "redis://127.0.0.1:6379/0"


def hide_password(url: str) -> str:
    """`url` without its password: nothing between the scheme and the last @, nor a `password=`."""
    hidden = re.sub(r"://.*@", "://***@", url)
    return re.sub(r"([?&]password=)[^&]*", r"\1***", hidden)
