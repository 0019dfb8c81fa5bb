"""The address of Redis as text.  Imports nothing heavy: the command line shows addresses, too."""

from __future__ import annotations

import re

DEFAULT_URL = "redis://127.0.0.1:6379/0"


def plain(url: str) -> tuple[str, bool]:
    """`url` as the libraries take it, and whether it is that of a cluster, such as redis+cluster://host:6379."""
    found = re.match(r"(?:redis|valkey)(s?)(\+cluster)?://", url)
    if found is None:
        return url, False
    return f"redis{found[1]}://{url[found.end() :]}", found[2] is not None


def of_cluster(url: str) -> str:
    """A plain URL as that of a cluster."""
    return re.sub(r"^(\w+)://", r"\1+cluster://", url)


def hide_password(url: str) -> str:
    """`url` without its password: nothing between the scheme and the last @, nor a `password=`."""
    hidden = re.sub(r"://.*@", "://***@", url)
    return re.sub(r"([?&]password=)[^&]*", r"\1***", hidden)
