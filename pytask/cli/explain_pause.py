"""A pause, and its end, as plain Redis commands; see `pytask.cli.explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytask.adapters.keys import Keys
from pytask.cli import explain_limits
from pytask.cli.explain_script import Answer, Item, Joined
from pytask.domain import lifecycle as life
from pytask.domain.messages import Command, Event

if TYPE_CHECKING:
    from pytask.cli.connection import Remote

PAUSE_RUN = """\
local control = redis.call("HGET", KEYS[1], "control")
if redis.call("HEXISTS", KEYS[1], "run") == 0 or control == "stop" then return end
redis.call("SADD", KEYS[2], ARGV[1])
if redis.call("HSETNX", KEYS[1], "paused", redis.call("TIME")[1]) == 1 and control ~= "reload" then
  return redis.call("HSET", KEYS[1], "control", "pause")
end"""
SET_ASIDE = f"""\
{explain_limits.LEAVE}\
local tries = redis.call("HGET", KEYS[1], "restarts") and redis.call("ZSCORE", KEYS[5], ARGV[1])
if redis.call("HEXISTS", KEYS[1], "function") == 1 and redis.call("HEXISTS", KEYS[1], "run") == 0
and leave(KEYS[1], KEYS[3], ARGV[1], ARGV[5]) + redis.call("LREM", KEYS[4], 0, ARGV[1])
  + redis.call("ZREM", KEYS[5], ARGV[1]) > 0 then
  local now = redis.call("TIME")[1]
  if tries and (tonumber(redis.call("HGET", KEYS[1], "not_before") or 0) or 0) * 1000 < tonumber(tries) then
    redis.call("HSET", KEYS[1], "not_before", string.format("%.3f", tries / 1000))
  end
  redis.call("HSET", KEYS[1], "state", ARGV[2], "paused", now, "last_update", now)
  redis.call("SADD", KEYS[2], ARGV[1])
  redis.call("ZADD", KEYS[6], now, ARGV[1])
  return redis.call("PUBLISH", ARGV[3], ARGV[4])
end"""
UNLESS_IT_RUNS = 'if redis.call("HEXISTS", KEYS[1], "run") == 1 then return end'
RESUME = """\
if redis.call("HDEL", KEYS[1], "paused") == 0 then return end
redis.call("SREM", KEYS[2], ARGV[1])
if redis.call("HEXISTS", KEYS[1], "run") == 0 then return redis.call("LPUSH", KEYS[3], ARGV[1]) end
local control = redis.call("HGET", KEYS[1], "control")
if not control or control == "pause" then redis.call("HSET", KEYS[1], "control", "start") end
return redis.call("PUBLISH", ARGV[2], "start")"""


def pause(space: str, task_id: str) -> list[Item]:
    """For a waiting or running task."""
    keys = Keys(space)
    parking = Joined([keys.parking("").decode(), Answer(["HGET", keys.task(task_id), "function"])])
    return [
        "if it runs and no stop is pending: store the request; its worker reads it within 5 s",
        ["EVAL", PAUSE_RUN, 2, keys.task(task_id), keys.paused, task_id],
        "if it waits: out of its place, also out of the waiting lists of limits, into the paused set;",
        "if others of its group follow it in the queue, the next one takes its place",
        [
            "EVAL", SET_ASIDE, 6, keys.task(task_id), keys.paused, keys.queue, parking, keys.timers,
            keys.index(life.WAIT), task_id, life.WAIT, keys.events(task_id),
            f'{{"event":"{Event.PAUSED}","data":null}}', keys.own,
        ],
        "notify: a subscribed worker acts at once; without a subscriber the message is lost",
        ["PUBLISH", keys.control(task_id), Command.PAUSE],
    ]  # fmt: skip


def resume(space: str, task_id: str, *, fresh: bool = False) -> list[Item]:
    """For a paused task, whether it waits or runs; with `fresh` only if it waits.

    The message only if it runs: for a task at rest it is a start, besides the one that the caller may print.
    """
    keys = Keys(space)
    into = "if it is paused: into the queue; if it runs: notify, or its worker reads the request within 5 s"
    script = RESUME
    if fresh:
        into, script = "if it waits, and is paused: into the queue", f"{UNLESS_IT_RUNS}\n{RESUME}"
    return [
        into,
        ["EVAL", script, 3, keys.task(task_id), keys.paused, keys.queue, task_id, keys.control(task_id)],
    ]


def functions(remote: Remote, name: str, *, resume: bool) -> list[Item]:
    """For a function; `*` is all."""
    items: list[Item] = []
    for space in remote.spaces:
        keys = Keys(space)
        items.append(["SREM" if resume else "SADD", keys.paused_functions, name])
        if resume and name == "*":
            items += ["for each name in this set:", ["SMEMBERS", keys.parked]]
        if resume:
            items.append(["PUBLISH", keys.hint_channel, name])
    return items
