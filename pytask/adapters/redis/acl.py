"""Access rules of Redis for each role: the words after `ACL SETUSER name`.

Redis 6.2 knows every word, so there are no selectors and no `%R~`.  Key patterns can only add rights, so
"every task, but no key of pytask" is expressed by patterns for each letter (see `_tasks`).
"""

from __future__ import annotations

from pytask.adapters.keys import Keys
from pytask.domain.errors import ConfigError
from pytask.domain.partition import namespace_of

ROLES = ("producer", "watcher", "publisher", "operator", "worker")
OWN = "pytask:"

# Commands that client libraries send themselves.  (Redis 7.0 alone knows no `client|setinfo`.)
CONNECT = ("hello", "ping", "select", "client|setname", "client|setinfo")
CLUSTER = ("cluster|slots", "cluster|nodes", "asking", "command")
WRITE = ("hset", "hmset", "lpush", "multi", "exec", "discard")
LISTEN = ("subscribe", "psubscribe", "unsubscribe", "punsubscribe")
# Commands with which `pytask.Client` and the command line read.
LOOK = (
    "hget", "hmget", "hgetall", "exists", "type", "scan", "time", "info", "pubsub|channels", "pubsub|numsub",
    "llen", "lindex", "lrange", "lpos", "hlen", "scard", "sismember", "smembers", "srandmember", "sscan",
    "zcard", "zcount", "zscore", "zmscore", "zscan", "zrevrange", "zrevrangebyscore",
)  # fmt: skip
# Commands with which their scripts write.
STEER = (
    "publish", "eval", "evalsha", "hexists", "hstrlen", "hset", "hdel", "del", "persist",
    "lpush", "lrem", "rpush", "sadd", "srem", "zadd", "zpopmin", "zrem",
)  # fmt: skip
# Redis also checks the rights of the caller inside scripts.
SCRIPTS = (
    "eval", "evalsha", "time", "info", "publish",
    "del", "exists", "expire", "persist", "type",
    "hdel", "hexists", "hget", "hlen", "hmget", "hscan", "hset", "hstrlen",
    "lindex", "llen", "lpos", "lpush", "lrange", "lrem", "ltrim", "rpush",
    "get", "incr", "set",
    "sadd", "scard", "sismember", "smembers", "srandmember", "srem", "sscan",
    "zadd", "zcard", "zcount", "zmscore", "zpopmin", "zrange", "zrangebyscore", "zrem", "zremrangebyscore",
    "zrevrange", "zscore",
)  # fmt: skip
SERVICES = (
    "blmove", "scan", *LISTEN, "pubsub|channels", "wait", "config|get", "role", *CLUSTER,
)  # fmt: skip
COMMANDS = {
    "producer": CONNECT + CLUSTER + WRITE,
    "watcher": CONNECT + CLUSTER + LISTEN + LOOK,
    "publisher": CONNECT + LISTEN + ("hget", "hmget", "hgetall", "publish"),
    "operator": CONNECT + CLUSTER + LISTEN + LOOK + STEER,
    "worker": CONNECT + SCRIPTS + SERVICES,
}


def rules(role: str, namespace: str = "", partitions: int = 1) -> list[str]:
    """The words for a role under a namespace; they replace all previous rules, but keep the password.

    Raises :class:`ConfigError` for an unknown role, or a namespace that a rule cannot contain.
    """
    if role not in ROLES:
        raise ConfigError(f"no such role: {role!r}; roles: {', '.join(ROLES)}")
    if not all(char.isprintable() and char not in " \"'" for char in namespace):
        raise ConfigError(
            f"the namespace {namespace!r} cannot be used in an ACL rule: it must not contain spaces or quotes"
        )
    spaces = [namespace_of(namespace, index, partitions) for index in range(partitions)]
    return [
        "resetkeys",
        "resetchannels",
        "-@all",
        *(word for space in spaces for word in _keys(role, space)),
        *(word for space in spaces for word in _channels(role, space)),
        *(f"+{name}" for name in dict.fromkeys(COMMANDS[role])),
    ]


def command(role: str, namespace: str = "", partitions: int = 1) -> str:
    """The whole line for `redis-cli`, with PASSWORD as a placeholder."""
    words = rules(role, namespace, partitions)
    return " ".join(["ACL SETUSER", f"pytask-{role}", "on", ">PASSWORD", *words])


def _keys(role: str, namespace: str) -> list[str]:
    if role not in ("producer", "publisher"):
        return [f"~{_literal(namespace)}*"]
    queue = [f"~{_literal(Keys(namespace).queue)}"] if role == "producer" else []
    return queue + [f"~{pattern}" for pattern in _tasks(_literal(namespace))]


def _tasks(start: str) -> list[str]:
    """Patterns for all names after `start` except those that begin with `pytask:`.

    A name differs from that word in its first letter, or its second, ..., or is shorter.
    """
    heads = [start + OWN[:at] for at in range(len(OWN))]
    return heads[1:] + [f"{head}[^{OWN[at]}]*" for at, head in enumerate(heads)]


def _channels(role: str, namespace: str) -> list[str]:
    keys = Keys(namespace)
    events = f"&{_literal(keys.channel)}*"
    if role == "producer":
        return []
    if role == "operator":  # it tells workers that a function was resumed
        return [events, f"&{_literal(keys.hint_channel)}"]
    if role != "worker":
        return [events]
    # A subscription to a pattern is only allowed if the rules contain exactly this pattern.
    return [events, f"&{keys.control_pattern}", f"&{_literal(namespace)}{OWN}*"]


def _literal(text: str) -> str:
    return "".join("\\" + char if char in "\\*?[]" else char for char in text)


def missing(text: str, script: str = "", line: str = "") -> str:
    """The rights to grant after a refusal with this `text`, and its place in a script."""
    where = f" (in {script}.lua: {line.strip()})" if line else ""
    word = next((part for part in text.split("'")[1::2] if part.replace("|", "").isalpha()), "")
    least = f"; it lacks +{word.lower()}" if word and word != "default" else ""
    return (
        f"{where}{least}. Give the user the rules of its role: those that `pytask acl worker` prints (with"
        " --namespace and --partitions, if there are any), and those commands that your tasks send through"
        " self.redis; for a client `pytask acl operator`, or watcher to look only"
    )
