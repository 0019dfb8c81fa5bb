"""The address of Redis as text.  Has no slow imports, because the command line uses it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

VARIABLES = ("PYTASK_REDIS_URL", "REDIS_URL")  # the first one set is used
DEFAULT_URL = "redis://127.0.0.1:6379/0"
TLS = (("ssl_ca_certs", "--cacert"), ("ssl_certfile", "--cert"), ("ssl_keyfile", "--key"))  # for redis-cli


def plain(url: str) -> tuple[str, bool]:
    """`url` as accepted by the libraries, and whether it names a cluster (redis+cluster://host:6379)."""
    found = re.match(r"(?:redis|valkey)(s?)(\+cluster)?://", url)
    if found is None:
        return url, False
    return f"redis{found[1]}://{url[found.end() :]}", found[2] is not None


def of_cluster(url: str) -> str:
    """A plain URL as a URL of a cluster."""
    return re.sub(r"^(\w+)://", r"\1+cluster://", url)


class Unset:
    """The type of an address that was not given; None is an error, such as an unset variable."""

    def __repr__(self) -> str:
        return "$PYTASK_REDIS_URL"


UNSET = Unset()


def given(source: Any) -> Any:
    """`source`, or the address in the environment, or the default."""
    if source is not UNSET:
        return source
    return next(filter(None, map(os.environ.get, VARIABLES)), DEFAULT_URL)


# -- printed addresses ---------------------------------------------------------------------------------------

# The parameters of a URL that may be shown; any other may be a password.
HARMLESS = re.compile(
    r"db|protocol|timeout|max_connections|health_check_interval|client_name|encoding|decode_responses|"
    r"retry_on_\w+|socket_\w+|ssl_(?!password)\w+"
)
# A colon is followed by a port, or a part of [::1]; anything else may be a password.
NO_PORT = re.compile(r"(\[[^]]*\])|:(?!\d{0,5}(?:,|$))[^,]*")


def hide_password(url: str) -> str:
    """`url` without possible passwords, also if it is malformed: without scheme or @."""
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
    """A valid URL without user and password, for printed commands."""
    url = url if "://" in url else hide_password(url)
    scheme, _, rest = url.partition("://")
    place, _, query = rest.rpartition("@")[2].partition("?")
    kept = [part for part in query.split("&") if HARMLESS.fullmatch(part.partition("=")[0])]
    return f"{scheme}://{place}" + (f"?{'&'.join(kept)}" if kept else "")


def in_db(url: str, number: int) -> str:
    """The URL of another db of the same server, without login."""
    place, _, query = without_login(url).partition("?")
    kept = [part for part in query.split("&") if part and not part.startswith("db=")]
    if not place.startswith("unix"):
        scheme, _, host = place.partition("://")
        return f"{scheme}://{host.partition('/')[0]}/{number}" + (f"?{'&'.join(kept)}" if kept else "")
    return f"{place}?{'&'.join([*kept, f'db={number}'])}"


def redis_cli(url: str) -> list[str]:
    """The options of redis-cli for the server of a URL, and its password for $REDISCLI_AUTH.

    Raises ValueError for an invalid URL, and for a db that is not a number: it may be a password.
    """
    plainly, clustered = plain(url)
    words = ["redis-cli", *(["-c"] if clustered else [])]
    if plainly == DEFAULT_URL:
        return words  # its default
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
