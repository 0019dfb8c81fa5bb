"""The address of Redis as text.  Imports nothing heavy: the command line shows addresses, too."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

VARIABLES = ("PYTASK_REDIS_URL", "REDIS_URL")  # the first that is set
DEFAULT_URL = "redis://127.0.0.1:6379/0"
TLS = (("ssl_ca_certs", "--cacert"), ("ssl_certfile", "--cert"), ("ssl_keyfile", "--key"))  # for redis-cli


def plain(url: str) -> tuple[str, bool]:
    """`url` as the libraries take it, and whether it is that of a cluster, such as redis+cluster://host:6379."""
    found = re.match(r"(?:redis|valkey)(s?)(\+cluster)?://", url)
    if found is None:
        return url, False
    return f"redis{found[1]}://{url[found.end() :]}", found[2] is not None


def of_cluster(url: str) -> str:
    """A plain URL as that of a cluster."""
    return re.sub(r"^(\w+)://", r"\1+cluster://", url)


class Unset:
    """Stands for an address that nobody gave; None is a mistake, such as a variable that is not set."""

    def __repr__(self) -> str:
        return "$PYTASK_REDIS_URL"


UNSET = Unset()


def given(source: Any) -> Any:
    """`source`, or the address that the environment names, or the default."""
    if source is not UNSET:
        return source
    return next(filter(None, map(os.environ.get, VARIABLES)), DEFAULT_URL)


# -- addresses that are printed -----------------------------------------------------------------------------

# What may be shown of a URL's query; any other may be a password, however it is written.
HARMLESS = re.compile(
    r"db|protocol|timeout|max_connections|health_check_interval|client_name|encoding|decode_responses|"
    r"retry_on_\w+|socket_\w+|ssl_(?!password)\w+"
)
# Behind a colon stands a port, or a part of [::1]; else it was meant to be a password.
NO_PORT = re.compile(r"(\[[^]]*\])|:(?!\d{0,5}(?:,|$))[^,]*")


def hide_password(url: str) -> str:
    """`url` without what may be a password, also where it is written wrongly: without scheme or @."""
    found = re.match(r"[\w.+-]*://", url)
    scheme = found[0] if found else ""
    _, at, rest = url.removeprefix(scheme).rpartition("@")
    place, mark, query = rest.partition("?")
    if not scheme.startswith("unix"):
        host, slash, path = place.partition("/")
        place = NO_PORT.sub(lambda found: found[1] or ":***", host) + slash + path
    return f"{scheme}{'***' if at else ''}{at}{place}{mark}{'&'.join(_hidden(query))}"


def _hidden(query: str) -> Iterator[str]:
    for part in re.split("[&;]", query):
        name, equals, _ = part.partition("=")
        harmless = HARMLESS.fullmatch(unquote(name)) or not part
        yield part if harmless else f"{name}=***" if equals else "***"


def without_login(url: str) -> str:
    """A URL that works, as it may stand in a command that is printed: no user, no password."""
    url = url if "://" in url else hide_password(url)
    scheme, _, rest = url.partition("://")
    place, _, query = rest.rpartition("@")[2].partition("?")
    kept = [part for part in query.split("&") if HARMLESS.fullmatch(part.partition("=")[0])]
    return f"{scheme}://{place}" + (f"?{'&'.join(kept)}" if kept else "")


def in_db(url: str, number: int) -> str:
    """That of another db of the same server, without login."""
    place, _, query = without_login(url).partition("?")
    kept = [part for part in query.split("&") if part and not part.startswith("db=")]
    if not place.startswith("unix"):
        scheme, _, host = place.partition("://")
        return f"{scheme}://{host.partition('/')[0]}/{number}" + (f"?{'&'.join(kept)}" if kept else "")
    return f"{place}?{'&'.join([*kept, f'db={number}'])}"


def redis_cli(url: str) -> list[str]:
    """How redis-cli reaches the server of a URL; its password is for $REDISCLI_AUTH.

    Raises ValueError for what is no such URL, or has a db that is no number: it may be a password.
    """
    plainly, clustered = plain(url)
    words = ["redis-cli", *(["-c"] if clustered else [])]
    if plainly == DEFAULT_URL:
        return words  # where it goes by itself
    parts = urlsplit(plainly)
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ValueError("no address of Redis")
    query = dict(parse_qsl(parts.query))
    db = query.get("db")
    if parts.scheme == "unix":
        words += ["-s", unquote(parts.path)]
    else:
        words += ["-h", unquote(parts.hostname or "127.0.0.1"), "-p", str(parts.port or 6379)]
        db = db or parts.path.strip("/")
    words += ["-n", str(int(db or "0"))] if not clustered else []
    words += ["--user", unquote(parts.username)] if parts.username else []
    words += ["--tls"] if parts.scheme == "rediss" else []
    return words + [word for name, option in TLS if name in query for word in (option, query[name])]
