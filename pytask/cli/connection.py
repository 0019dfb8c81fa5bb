"""The Redis that a verb talks to: found by the settings, asked once and quickly, never retried."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pytask.cli.config import Ambient
from pytask.daemon.flags import Value
from pytask.domain.errors import AmbiguousId, BadConfigFile, ConfigError, NoSuchTask, PytaskError, StoreError
from pytask.terminal import out, say

if TYPE_CHECKING:
    from pytask.cli.explain_script import Item
    from pytask.client import Client
    from pytask.client.partitions import Partitions
    from pytask.client.sync_driver import SyncDriver

CONNECTING = 0.5  # seconds, unless the setting `timeout` says otherwise
SHOWN = 5  # ids that an ambiguous beginning lists
IDS = 500  # of one round trip
NEAR = 100  # ids that are compared with one that does not exist


class Remote:
    """Settings, keys and connections of one call."""

    def __init__(
        self,
        *,
        redis: str | None = None,
        namespace: str | None = None,
        partitions: int | None = None,
        config: str | None = None,
        explain: bool = False,
    ) -> None:
        self._flags = {"redis_url": redis, "namespace": namespace, "partitions": partitions}
        self._config = config
        self._ambient: Ambient | None = None
        self._client: Any = None
        self._driver: SyncDriver | None = None
        self._tasks: Client | None = None
        self.explain = explain

    # -- settings -------------------------------------------------------------------------------------

    def setting(self, name: str) -> Value:
        """A setting, and where it came from."""
        if self._ambient is None:
            self._ambient = Ambient(self._config)
            self._ambient.check()
        return self._ambient.get(name, self._flags.get(name), "redis" if name == "redis_url" else "")

    def strays(self) -> list[str]:
        """Sentences about variables that look like settings and are none."""
        self.setting("output")
        return self._ambient.strays() if self._ambient is not None else []

    @property
    def namespace(self) -> str:
        """In front of every key and channel, as the app was given it."""
        return str(self.setting("namespace").value)

    @property
    def partition_count(self) -> int:
        """Of the namespace."""
        return int(self.setting("partitions").value)

    @property
    def spaces(self) -> list[str]:
        """The namespaces of all partitions."""
        from pytask.domain.partition import namespace_of

        return [
            namespace_of(self.namespace, index, self.partition_count) for index in range(self.partition_count)
        ]

    def space_of(self, task_id: str) -> str:
        """The namespace of the partition that a task belongs to."""
        return self.spaces[self.partition_of(task_id)]

    def partition_of(self, task_id: str) -> int:
        """The partition that a task belongs to."""
        from pytask.domain.partition import partition_of

        return partition_of(task_id, self.partition_count)

    # -- the connection -------------------------------------------------------------------------------

    @property
    def client(self) -> Any:
        """A client that waits for each answer as long as the setting `timeout` says, and tries once."""
        if self._client is None:
            from pytask.cli.lazy_redis import import_redis

            import_redis()
            url = self.setting("redis_url")
            try:
                self._client = self._opened(url.value)
            except (StoreError, BadConfigFile):
                raise
            except Exception as error:
                error.add_note(f"  the address is {url.origin}")
                raise
        return self._client

    def _opened(self, url: str) -> Any:
        """What a worker makes of the URL; where that is a node of a cluster, a client of the cluster."""
        from pytask.adapters.redis import clients, support
        from pytask.adapters.redis.address import of_cluster, plain
        from pytask.domain.partition import hash_tag

        timeout, connecting = self.timeouts
        limits = {"socket_timeout": timeout, "socket_connect_timeout": connecting}
        opened = clients.open_client(url, **limits)
        if support.is_cluster(opened):
            return opened
        own = clients.own_client(opened, timeout=timeout, connect_timeout=connecting, name="pytask-cli")
        # Elsewhere the keys could not live in a cluster, and nothing is asked.
        if hash_tag(self.namespace) and support.in_cluster(own):
            clients.disconnect(own)
            return clients.open_client(of_cluster(plain(url)[0]), **limits)
        return own

    @property
    def timeouts(self) -> tuple[float, float]:
        """Seconds for an answer, and for a connection: with both a wrong address is told in under a second.

        A lost packet of a connection is sent again after a second: more than half of one helps nobody.
        """
        timeout = self.setting("timeout")
        return float(timeout.value), float(timeout.value) if timeout.given else CONNECTING

    @property
    def partitions(self) -> Partitions:
        """Where tasks are, by the settings of this call."""
        from pytask.client.partitions import partitions_of

        return partitions_of(self.namespace, self.partition_count, name=str(self.setting("who").value))

    @property
    def driver(self) -> SyncDriver:
        """Carries commands to the servers of the partitions."""
        if self._driver is None:
            from pytask.client.sync_driver import SyncDriver

            self._driver = SyncDriver(self.client, self.partitions, *self.timeouts)
        return self._driver

    @property
    def tasks(self) -> Client:
        """The client of the library, with the settings of this call."""
        if self._tasks is None:
            from pytask.client import Client

            self._tasks = Client.over(self.driver, self.partitions)
        return self._tasks

    def ask(self, *words: Any, at: int = 0) -> Any:
        """One command for the server of a partition."""
        return self.ask_all([words], at=at)[0]

    def ask_all(self, commands: Iterable[Sequence[Any]], *, at: int = 0) -> list[Any]:
        """Many commands in one round trip, their answers in order; the first error is raised."""
        return self.ask_each((at, words) for words in commands)

    def ask_each(self, commands: Iterable[tuple[int, Sequence[Any]]]) -> list[Any]:
        """Commands, each for the server of a partition; one round trip a server."""
        from pytask.client.operations import ask_all

        return self.driver.run(ask_all([(at, tuple(words)) for at, words in commands]))

    def place(self, error: StoreError) -> None:
        """Let the error say which Redis was asked, and where that address came from."""
        url = self.setting("redis_url")
        error.add_note(f"  asked: {url.shown} ({url.origin}); --redis URL or $PYTASK_REDIS_URL name another")

    # -- explanations ---------------------------------------------------------------------------------

    def explains(self, items: Iterable[Item]) -> bool:
        """With `--explain`: print these as a shell takes them, and True: the verb is to end here."""
        if self.explain:
            from pytask.cli.explain_script import Writer
            from pytask.terminal import command

            for line in Writer(command(self.redis_cli)).lines(items):
                out(line)
        return self.explain

    @property
    def redis_cli(self) -> list[str]:
        """How redis-cli reaches the server of this call."""
        from pytask.adapters.redis.address import hide_password, redis_cli

        url = self.setting("redis_url").value
        try:
            return redis_cli(url)
        except ValueError:  # a port that is none; what the library says would repeat it
            raise ConfigError(f"cannot use the Redis URL {hide_password(url)!r}") from None

    @property
    def flags(self) -> list[str]:
        """What another command needs to go where this one goes: the flags that it was given, no password."""
        from pytask.adapters.redis.address import without_login

        found = []
        for name, value in (*self._flags.items(), ("config", self._config)):
            if value is not None:
                told = without_login(str(value)) if name == "redis_url" else str(value)
                found += [f"--{'redis' if name == 'redis_url' else name}", told]
        return found

    def typed(self, *words: str) -> str:
        """A command for redis-cli at the server of this call."""
        from pytask.terminal import command

        return command([*self.redis_cli, *words])

    # -- ids ------------------------------------------------------------------------------------------

    def find(self, beginning: str, *, act: bool = False) -> str:
        """The one id that is `beginning`, or begins with it.  Raises `NoSuchTask`, `AmbiguousId`.

        The search is bounded.  Where it could not see all ids, a verb that is going to `act` takes whole
        ids only: another task might begin like that.
        """
        return beginning if self._existing([beginning]) else self._beginning(beginning, act=act)

    def resolve(self, words: Iterable[str]) -> dict[str, str | PytaskError]:
        """The whole ids that a verb is to act on, or for each word why it is none."""
        asked = list(dict.fromkeys(words))
        found: dict[str, str | PytaskError] = dict.fromkeys(asked, "")
        there = self._existing(asked)
        for word in asked:
            try:
                found[word] = word if word in there else self._beginning(word, act=True)
            except (NoSuchTask, AmbiguousId) as error:
                found[word] = error
        return found

    def _existing(self, words: Sequence[str]) -> set[str]:
        """Those that are the id of a task, or a key that may hold one."""
        from pytask.domain.messages import IdFault, read_id

        ids = [
            word for word in words if not isinstance(read_id(word.encode(errors="surrogatepass")), IdFault)
        ]
        found: set[str] = set()
        for at in range(0, len(ids), IDS):
            part = ids[at : at + IDS]
            asked = [(self.partition_of(i), ("EXISTS", self.space_of(i) + i)) for i in part]
            found.update(i for i, there in zip(part, self.ask_each(asked), strict=True) if there)
        return found

    def _beginning(self, beginning: str, *, act: bool) -> str:
        from pytask.client.queries import FORGOTTEN

        found, complete = self.tasks.find(beginning, limit=SHOWN)
        if len(found) == 1 and (complete or not act):
            if not complete:
                say(f"{found[0]} is the first task found that begins so")
            return found[0]
        if found:
            raise AmbiguousId(_several(beginning, found, complete=complete))
        if not complete:
            raise NoSuchTask(
                f"there is no task {beginning!r}, and too many keys to look for one that begins so: give"
                " the whole id"
            )
        near = self._near(beginning)
        meant = f" (did you mean {near!r}?)" if near else ""
        raise NoSuchTask(
            f"there is no task {beginning!r}, and none whose id begins so{meant}. `pytask ls` shows what"
            f" there is; {FORGOTTEN}",
            near,
        )

    def _near(self, word: str) -> str:
        """An id that looks like this, among those whose first half is the same."""
        from difflib import get_close_matches

        found, _ = self.tasks.find(word[: (len(word) + 1) // 2], limit=NEAR)
        return next(iter(get_close_matches(word, found, n=1, cutoff=0.7)), "")


def _several(beginning: str, found: Sequence[str], *, complete: bool) -> str:
    if len(found) == 1 and not complete:
        return (
            f"{found[0]} begins with {beginning!r}, but there are too many tasks to know that no other does:"
            " give the whole id"
        )
    return f"several ids begin with {beginning!r}, such as {', '.join(found)}: give more of the one you mean"
