"""Refuses options of an address or a client that cannot work: a worker would retry them forever."""

from __future__ import annotations

import re
from collections.abc import Mapping
from inspect import signature
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pytask.adapters.redis.address import hide_password
from pytask.domain.errors import ConfigError

FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


def check_url(url: str) -> None:
    """Raise `ConfigError` for unusable TLS files in a URL."""
    check_files(dict(parse_qsl(urlsplit(url).query)))


def check_files(options: Mapping[str, Any]) -> None:
    """Raise `ConfigError`, with the name of the file, for missing or invalid TLS files."""
    authorities, certificate, key = map(options.get, FILES)
    if not (authorities or certificate or key):
        return
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if authorities:
            path = f"{authorities!r} (ssl_ca_certs)"
            context.load_verify_locations(authorities)
        if certificate:
            path = f"{certificate!r} (ssl_certfile)" + (f" or {key!r} (ssl_keyfile)" if key else "")
            # Without a password in the options, OpenSSL would prompt for one on the terminal.
            context.load_cert_chain(certificate, key, options.get("ssl_password") or "")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"the file {path} of the address cannot be used: {reason}") from None


def check_cluster_url(url: str) -> None:
    """Raise `ConfigError` for options that a cluster client would ignore silently."""
    from redis import cluster

    taken = {*getattr(cluster, "REDIS_ALLOWED_KEYS", ()), *signature(cluster.RedisCluster).parameters}
    for name, _ in parse_qsl(urlsplit(url).query):
        if name not in taken:
            raise ConfigError(f"{name!r} is not an option of a cluster's address, or the library ignores it")


def check_made(client: Any, url: str) -> None:
    """Raise `ConfigError` for an option in the URL that the library does not know, or for its value."""
    pool = client.connection_pool
    try:
        pool.connection_class(**pool.connection_kwargs)
    except Exception as error:  # noqa: BLE001 - the library's own, or a TypeError
        raise bad_option(url, error) from None


def bad_option(url: str, error: Exception) -> ConfigError:
    """The error in an option of the URL."""
    found = re.search(r"argument '(\w+)'", str(error)) if isinstance(error, TypeError) else None
    what = f"{found[1]!r} is not an option of an address" if found else str(error)
    return ConfigError(f"cannot use the Redis URL {hide_password(url)!r}: {what}")
