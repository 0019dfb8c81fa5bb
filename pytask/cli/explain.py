"""The control commands as plain Redis commands; see docs/protocol.md.

A published message is lost without a subscriber, so each command includes the durable write.  A check and a
change that must be atomic are a few lines of Lua: between two commands a worker may act.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence

from pytask.adapters.keys import Keys
from pytask.adapters.rules import SAVED
from pytask.cli import explain_limits, explain_pause
from pytask.cli.explain_script import Answer, Item, Joined, Line, Word
from pytask.cli.explain_script import If as If_
from pytask.domain import lifecycle as life
from pytask.domain.messages import STARTED, Command, Event

REQUEST = """\
if redis.call("HEXISTS", KEYS[1], "run") == 1 and redis.call("HGET", KEYS[1], "control") ~= ARGV[2]
then return redis.call("HSET", KEYS[1], "control", ARGV[1]) end"""
CANCEL = f"""\
{explain_limits.LEAVE}\
if redis.call("HEXISTS", KEYS[1], "function") == 1 and redis.call("HEXISTS", KEYS[1], "run") == 0
and leave(KEYS[1], KEYS[2], ARGV[1], ARGV[5]) + redis.call("LREM", KEYS[3], 0, ARGV[1])
  + redis.call("ZREM", KEYS[6], ARGV[1]) + redis.call("SREM", KEYS[7], ARGV[1]) > 0 then
  redis.call("HDEL", KEYS[1], "paused")
  redis.call("HSET", KEYS[1], "state", ARGV[2], "last_update", redis.call("TIME")[1])
  redis.call("ZREM", KEYS[4], ARGV[1])
  redis.call("ZADD", KEYS[5], redis.call("TIME")[1], ARGV[1])
  return redis.call("PUBLISH", ARGV[3], ARGV[4])
end"""
PUSH = """\
local state = redis.call("HGET", KEYS[1], "state")
if redis.call("ZREM", KEYS[3], ARGV[1]) == 1 then state = ARGV[2] end
for at = 2, #ARGV do
  if state == ARGV[at] then
    redis.call("HDEL", KEYS[1], "crashes", "not_before", "restarts", "failed_at", "restart_times")
    return redis.call("LPUSH", KEYS[2], ARGV[1])
  end
end"""
FRESH = """\
if redis.call("HEXISTS", KEYS[1], "run") == 0 then return redis.call("HDEL", KEYS[1], unpack(ARGV)) end"""
DATA = """\
if redis.call("EXISTS", KEYS[1]) == 1 then return redis.call("HSET", KEYS[1], "data", ARGV[1]) end"""


def stop(space: str, task_id: str) -> list[Item]:
    """For a waiting or running task."""
    keys = Keys(space)
    names: list[Word] = [keys.task(task_id), keys.queue, _parking(keys, task_id)]
    names += [keys.index(life.WAIT), keys.index(life.STOPPED), keys.timers, keys.paused]
    stopped = [
        "EVAL",
        CANCEL,
        len(names),
        *names,
        task_id,
        life.STOPPED,
        keys.events(task_id),
        _event(Event.STOPPED),
        keys.own,
    ]
    return [
        "if it runs: store the request; its worker reads it within 5 s even if it receives no message",
        _request(keys, task_id, Command.STOP),
        "if it waits: remove it from the queue, its parking list, the timers, the paused set, or the waiting",
        "lists of its limits; if others of its group follow it in the queue, the next one takes its place",
        stopped,
        "notify: a subscribed worker acts at once; without a subscriber the message is lost",
        ["PUBLISH", keys.control(task_id), Command.STOP],
    ]


def start(space: str, task_id: str, *, fresh: bool = False) -> list[Item]:
    """For a task at rest, or one that waits for its time; `fresh`: without what earlier runs have saved."""
    keys = Keys(space)
    rest = [state for state in life.RESTING if state is not life.WAIT]
    return [
        *(forget(space, task_id) if fresh else ()),
        *explain_pause.resume(space, task_id, fresh=fresh),
        "a worker that receives an older stop after this ignores it",
        ["PUBLISH", keys.control(task_id), STARTED],
        "if it is at rest, or waits for its time: push it; the hash keeps its old state until it is claimed",
        ["EVAL", PUSH, 3, keys.task(task_id), keys.queue, keys.timers, task_id, *rest],
    ]


def forget(space: str, task_id: str) -> list[Item]:
    """What earlier runs have saved."""
    return [
        "if it does not run: remove what earlier runs have saved",
        ["EVAL", FRESH, 1, Keys(space).task(task_id), *SAVED],
    ]


def reload(space: str, task_id: str, data: str | None) -> list[Item]:
    """For a running task; with new data, if given."""
    keys = Keys(space)
    written: list[Item] = [] if data is None else [["EVAL", DATA, 1, keys.task(task_id), data]]
    return [
        *written,
        "the answer to an earlier request: this one does not repeat it",
        ["HDEL", keys.task(task_id), "reload_refused", "reloaded"],
        "if it runs and no stop is pending: store the request; its worker reads it within 5 s",
        _request(keys, task_id, Command.RELOAD),
        "notify: a subscribed worker acts at once; without a subscriber the message is lost",
        ["PUBLISH", keys.control(task_id), Command.RELOAD],
    ]


def requeue(space: str, task_id: str) -> list[Item]:
    """For a task at rest; only a monitor or the command itself can take a task from a dead worker."""
    keys = Keys(space)
    return [
        *start(space, task_id),
        "redis-cli cannot requeue a running task of a dead worker: its run and lease must stay unchanged",
        "for 90 s and are compared again when it is requeued. A monitor and `pytask requeue` do that",
        ["HGET", keys.runs, task_id],
        ["ZSCORE", keys.leases, task_id],
    ]


def remove(space: str, task_id: str, states: Sequence[str] | None = None) -> list[Item]:
    """For a task that is not running; if `states` lacks WAIT, only if it does not wait again."""
    keys = Keys(space)
    if states and life.WAIT not in states:
        left = remove(space, task_id)
        return ["not if it was pushed again", If_(["LPOS", keys.queue, task_id], "", left)]
    return [
        "only if it has no run: stop it first",
        If_(
            ["HGET", keys.runs, task_id],
            "",
            [
                ["LREM", _parking(keys, task_id), 0, task_id],
                If_(
                    ["EXISTS", _parking(keys, task_id)],
                    "0",
                    [["SREM", keys.parked, _function(keys, task_id)]],
                ),
                "the queue, and the waiting lists of its limits; the others of its group follow the next one",
                ["EVAL", explain_limits.OUT, 2, keys.task(task_id), keys.queue, task_id, keys.own],
                *(["ZREM", key, task_id] for key in (*keys.indexes, keys.timers)),
                ["SREM", keys.paused, task_id],
                ["DEL", keys.task(task_id), keys.log(task_id)],
            ],
        ),
    ]


def wait(space: str, task_id: str, states: Sequence[str], seconds: float) -> list[Item]:
    """Poll once a second until it is in one of the states."""
    keys = Keys(space)
    # A hash without a state counts as WAIT.
    wanted = "|".join([*states, *([""] if life.WAIT in states else [])])
    asks: list[Word] = ["HGET", keys.task(task_id), "state"]
    return [
        lambda cli: f"# events instead of polling: {cli.command(['SUBSCRIBE', keys.events(task_id)])}",
        _until(lambda cli: f"{cli.command(asks)} | grep -qxE {shlex.quote(f'({wanted})')}", seconds),
        ["HGETALL", keys.task(task_id)],
    ]


def until_run(seconds: float, *, over: bool) -> Callable[[str, str], list[Item]]:
    """The commands for `--wait`: until a worker has claimed it, or until no worker has it any more."""

    def awaited(space: str, task_id: str) -> list[Item]:
        asks: list[Word] = ["HGET", Keys(space).task(task_id), "run"]
        test = "-z" if over else "-n"
        return [_until(lambda cli: f'[ {test} "$({cli.command(asks)})" ]', seconds)] if seconds else []

    return awaited


def _until(holds: Line, seconds: float) -> Line:
    return lambda cli: f"timeout {seconds:g} sh -c {shlex.quote(f'until {holds(cli)}; do sleep 1; done')}"


def bounded(words: list[Word], seconds: float | None) -> Line:
    """An endless command, limited to a number of seconds."""
    return lambda cli: ("" if seconds is None else f"timeout {seconds:g} ") + cli.command(words)


def _request(keys: Keys, task_id: str, command: Command) -> list[Word]:
    return ["EVAL", REQUEST, 1, keys.task(task_id), command, Command.STOP]


def _parking(keys: Keys, task_id: str) -> Joined:
    """The parking list of its function."""
    return Joined([keys.parking("").decode(), Answer(["HGET", keys.task(task_id), "function"])])


def _function(keys: Keys, task_id: str) -> Joined:
    return Joined([Answer(["HGET", keys.task(task_id), "function"])])


def _event(event: Event) -> str:
    return f'{{"event":"{event}","data":null}}'
