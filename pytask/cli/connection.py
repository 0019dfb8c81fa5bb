"""The Redis connection of a command: address from the settings, short timeouts, no retries."""

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

CONNECTING = 0.5  # seconds, unless the setting `timeout` is given
SHOWN = 5  # ids that are listed for an ambiguous prefix
IDS = 500  # per round trip
NEAR = 100  # ids that are compared with an id that does not exist


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
        """A setting and its origin."""
        if self._ambient is None:
            self._ambient = Ambient(self._config, dev=True)
            self._ambient.check()
        return self._ambient.get(name, self._flags.get(name), "redis" if name == "redis_url" else "")

    def strays(self) -> list[str]:
        """Sentences about variables that look like settings but are not."""
        self.setting("output")
        return self._ambient.strays() if self._ambient is not None else []

    @property
    def namespace(self) -> str:
        """The prefix of every key and channel, as given to the app."""
        return str(self.setting("namespace").value)

    @property
    def partition_count(self) -> int:
        """The number of partitions of the namespace."""
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
        """A client that waits for each reply as long as the setting `timeout` says, without retries."""
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
        """The client that a worker would make of the URL; for a node of a cluster, a cluster client."""
        from pytask.adapters.redis import clients, support
        from pytask.adapters.redis.address import of_cluster, plain
        from pytask.domain.partition import hash_tag

        timeout, connecting = self.timeouts
        limits = {"socket_timeout": timeout, "socket_connect_timeout": connecting}
        opened = clients.open_client(url, **limits)
        if support.is_cluster(opened):
            return opened
        own = clients.own_client(opened, timeout=timeout, connect_timeout=connecting, name="pytask-cli")
        # Without a hash tag the keys cannot be in a cluster, so no command is sent.
        if hash_tag(self.namespace) and support.in_cluster(own):
            clients.disconnect(own)
            return clients.open_client(of_cluster(plain(url)[0]), **limits)
        return own

    @property
    def timeouts(self) -> tuple[float, float]:
        """Seconds for a reply and for a connection; with the defaults a wrong address fails within a second.

        TCP resends a lost SYN after one second, so values between 0.5 s and 1 s have no advantage.
        """
        timeout = self.setting("timeout")
        return float(timeout.value), float(timeout.value) if timeout.given else CONNECTING

    @property
    def partitions(self) -> Partitions:
        """The partitions, by the settings of this call."""
        from pytask.client.partitions import partitions_of

        return partitions_of(self.namespace, self.partition_count, name=str(self.setting("who").value))

    @property
    def driver(self) -> SyncDriver:
        """Sends commands to the servers of the partitions."""
        if self._driver is None:
            from pytask.client.sync_driver import SyncDriver

            self._driver = SyncDriver(self.client, self.partitions, *self.timeouts)
        return self._driver

    @property
    def tasks(self) -> Client:
        """The library's client, with the settings of this call."""
        if self._tasks is None:
            from pytask.client import Client

            self._tasks = Client.over(self.driver, self.partitions)
        return self._tasks

    def ask(self, *words: Any, at: int = 0) -> Any:
        """Send one command to the server of a partition."""
        return self.ask_all([words], at=at)[0]

    def ask_all(self, commands: Iterable[Sequence[Any]], *, at: int = 0) -> list[Any]:
        """Send commands in one round trip; returns the replies in order and raises the first error."""
        return self.ask_each((at, words) for words in commands)

    def ask_each(self, commands: Iterable[tuple[int, Sequence[Any]]]) -> list[Any]:
        """Send commands, each to the server of its partition, in one round trip per server."""
        from pytask.client.operations import ask_all

        return self.driver.run(ask_all([(at, tuple(words)) for at, words in commands]))

    def place(self, error: StoreError) -> None:
        """Add a note to the error: which Redis was contacted, and the origin of that address."""
        url = self.setting("redis_url")
        error.add_note(
            f"  server: {url.shown} ({url.origin}); set another with --redis URL or $PYTASK_REDIS_URL"
        )

    # -- explanations ---------------------------------------------------------------------------------

    def explains(self, items: Iterable[Item]) -> bool:
        """With `--explain`: print these as shell commands and return True; the command then ends."""
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
        except ValueError:  # an invalid port; the library's message would repeat the URL with its password
            raise ConfigError(f"cannot use the Redis URL {hide_password(url)!r}") from None

    @property
    def flags(self) -> list[str]:
        """The flags with which another command reaches the same server and namespace; no password."""
        from pytask.adapters.redis.address import without_login

        found = []
        for name, value in (*self._flags.items(), ("config", self._config)):
            if value is not None:
                shown = without_login(str(value)) if name == "redis_url" else str(value)
                found += [f"--{'redis' if name == 'redis_url' else name}", shown]
        return found

    def typed(self, *words: str) -> str:
        """A command for redis-cli at the server of this call."""
        from pytask.terminal import command

        return command([*self.redis_cli, *words])

    # -- ids ------------------------------------------------------------------------------------------

    def find(self, beginning: str, *, act: bool = False) -> str:
        """The one id that equals `beginning` or begins with it.  Raises `NoSuchTask`, `AmbiguousId`.

        The search is bounded.  If it could not see all ids, a command that changes the task (`act`) accepts
        whole ids only: another id might have the same prefix.
        """
        return beginning if self._existing([beginning]) else self._beginning(beginning, act=act)

    def resolve(self, words: Iterable[str]) -> dict[str, str | PytaskError]:
        """The whole id for each word, or the error why there is none."""
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
        """Those words that are the id of a task, or a key that may hold one."""
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
                say(f"{found[0]} is the first task found with this prefix")
            return found[0]
        if found:
            raise AmbiguousId(_several(beginning, found, complete=complete))
        if not complete:
            raise NoSuchTask(
                f"no task has the id {beginning!r}, and there are too many keys to search for a prefix: give"
                " the whole id"
            )
        self._check_schedules(beginning)
        near = self._near(beginning)
        meant = f" (did you mean {near!r}?)" if near else ""
        raise NoSuchTask(
            f"no task matches {beginning!r}, neither as an id nor as a prefix{meant}. `pytask ls` lists the"
            f" tasks; {FORGOTTEN}",
            near,
        )

    def _check_schedules(self, name: str) -> None:
        """Raise NoSuchTask, with the fix, if the word is a schedule that has started no task yet."""
        try:
            self.tasks.schedules.get(name)
        except PytaskError:  # there is none, or our role may not read it
            return
        raise NoSuchTask(
            f"the schedule {name!r} has no task: it has started none yet, or the task was deleted. `pytask"
            f" schedule show {name}` prints its times"
        )

    def _near(self, word: str) -> str:
        """A similar id among those with the same first half."""
        from difflib import get_close_matches

        found, _ = self.tasks.find(word[: (len(word) + 1) // 2], limit=NEAR)
        return next(iter(get_close_matches(word, found, n=1, cutoff=0.7)), "")


def _several(beginning: str, found: Sequence[str], *, complete: bool) -> str:
    if len(found) == 1 and not complete:
        return (
            f"{found[0]} begins with {beginning!r}, but there are too many tasks to rule out another match:"
            " give the whole id"
        )
    return f"several ids begin with {beginning!r}, such as {', '.join(found)}: give a longer prefix"
