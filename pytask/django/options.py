"""`OPTIONS` of an entry of the setting TASKS, and the client that they describe."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

import attrs

from pytask.adapters.redis.address import UNSET
from pytask.client import Client
from pytask.client.partitions import CONNECT_TIMEOUT, TIMEOUT
from pytask.domain.errors import BadDjangoSettings
from pytask.runtime.settings import Settings

OF_BOTH = ("namespace", "partitions")  # for the client and the workers: outside of `worker`


@attrs.frozen(kw_only=True)
class Options:
    """What a backend connects to, what may run, and the settings of its workers."""

    url: str | None = None  # default: $PYTASK_REDIS_URL, else $REDIS_URL, else redis://127.0.0.1:6379/0
    namespace: str = ""  # the prefix of keys and channels
    partitions: int = 1
    timeout: float = TIMEOUT  # seconds of one call to Redis
    connect_timeout: float = CONNECT_TIMEOUT
    modules: tuple[str, ...] = ()  # modules and packages, beside the installed apps, whose tasks may run
    worker: Mapping[str, Any] = attrs.Factory(dict)  # fields of pytask.Settings

    @property
    def source(self) -> Any:
        """The address, as `pytask.Client` and `PyTask` take it."""
        return UNSET if self.url is None else self.url

    @property
    def client(self) -> Client:
        """A client; all threads of a process share one.

        Raises:
            ConfigError: An invalid address, namespace or number of partitions.
        """
        return _client(self.url, self.namespace, self.partitions, self.timeout, self.connect_timeout)


@lru_cache(maxsize=64)
def _client(
    url: str | None, namespace: str, partitions: int, timeout: float, connect_timeout: float
) -> Client:
    return Client(
        UNSET if url is None else url,
        namespace=namespace,
        partitions=partitions,
        timeout=timeout,
        connect_timeout=connect_timeout,
    )


def read(alias: str, given: Mapping[str, Any]) -> Options:
    """The options of an alias.  Raises :class:`BadDjangoSettings` with the fix."""
    where = f'TASKS["{alias}"]["OPTIONS"]'
    if not isinstance(given, Mapping):
        raise BadDjangoSettings(f"{where} must be a dict, not {type(given).__name__}")
    known = [field.name for field in attrs.fields(Options)]
    for name in given:
        if name not in known:
            raise BadDjangoSettings(f"{where} has no option {name!r}{_meant(str(name), known)}")
    _check_types(where, given)
    worker = given.get("worker", {})
    for name in worker:
        if name in OF_BOTH:
            raise BadDjangoSettings(f'{where}["worker"] has {name!r}, which belongs one level up, in {where}')
        fields = [field.name for field in attrs.fields(Settings)]
        if name not in fields:
            raise BadDjangoSettings(
                f'{where}["worker"]: pytask.Settings has no field {name!r}{_meant(str(name), fields)}'
            )
    return Options(**{**given, "modules": tuple(given.get("modules", ()))})


def _check_types(where: str, given: Mapping[str, Any]) -> None:
    for name, kinds, what in (
        ("url", str | None, 'a text such as "redis://localhost:6379"'),
        ("namespace", str, 'a text such as "mysite:"'),
        ("timeout", int | float, "a number of seconds"),
        ("connect_timeout", int | float, "a number of seconds"),
        ("modules", list | tuple, 'a list of modules, such as ["mysite.tasks"]'),
        ("worker", Mapping, 'fields of pytask.Settings, such as {"max_tasks": 50}'),
    ):
        if name in given and not isinstance(given[name], kinds):
            raise BadDjangoSettings(f'{where}["{name}"] must be {what}, not {type(given[name]).__name__}')
    for one in given.get("modules", ()):
        if not isinstance(one, str) or not all(part.isidentifier() for part in one.split(".")):
            raise BadDjangoSettings(f'{where}["modules"]: {one!r} is not the name of a module')


def _meant(word: str, known: list[str]) -> str:
    near = get_close_matches(word.lower(), known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; options: {', '.join(known)}"
