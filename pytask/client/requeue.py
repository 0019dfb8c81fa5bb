"""Requeues tasks: those at rest, and those of a dead worker while no monitor is running.

A run is taken from its worker by the same rule and verb as in the monitor: the caller must have observed the
lease unchanged for the expiry, without comparing clocks, and the script compares run and lease once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

from pytask.adapters import decoding
from pytask.adapters.redis.replies import read_info
from pytask.client import enqueue, verbs
from pytask.client.control import await_run, existing, steer, steer_many
from pytask.client.operations import Now, Op, Pause, ask, ask_all
from pytask.client.partitions import Partitions
from pytask.client.records import Outcome
from pytask.client.verbs import CHUNK
from pytask.domain import lifecycle as life
from pytask.domain.advice import Advice, Call, Typed
from pytask.domain.errors import Denied, Refused, TaskRunning
from pytask.domain.messages import Command
from pytask.domain.record import Expiry, Verdict
from pytask.domain.timing import MOMENT, Timing

STEP = 500  # ids of one round trip


@attrs.frozen
class Held:
    """A registered run, and the Redis time of its last renewal (microseconds, 0: none)."""

    run: str
    lease: int


def requeue(
    partitions: Partitions, task_id: str, data: object, wait: float, timing: Timing | None
) -> Op[Outcome]:
    """One task.  Raises `NoSuchTask`, `TaskRunning`, and with `wait` also `TimedOut` or `NoListeners`."""
    if data is not None:
        yield from enqueue.update_data(partitions, task_id, data, None)
    if wait and not (yield from _held(partitions, [task_id])):
        return (yield from steer(partitions, Command.START, task_id, wait, None))
    (outcome,) = yield from requeue_many(partitions, [task_id], timing)
    existing(outcome)
    if outcome.refused:
        raise TaskRunning(outcome.refused)
    return (yield from await_run(partitions, task_id, wait)) if wait else outcome


def requeue_many(partitions: Partitions, ids: Sequence[str], timing: Timing | None) -> Op[list[Outcome]]:
    """Many tasks; `refused` of an outcome has the reason.  Waits for the expiry if a lease is not renewed."""
    timing = timing or Timing()
    servers = yield from _servers(partitions)
    held = yield from _held(partitions, ids)
    timing = yield from _patience(partitions, held, timing)
    refused = yield from _renewed_lately(partitions, held, timing)
    watched = {i: one for i, one in held.items() if i not in refused}
    if watched:
        refused |= yield from _watch(partitions, watched, timing)
        dead = {i: one for i, one in watched.items() if i not in refused}
        refused |= yield from _expire(partitions, dead, servers)
    free = [i for i in ids if i not in refused]
    found = {one.id: one for one in (yield from steer_many(partitions, Command.START, free))}
    odd = [i for i, one in found.items() if one.state is life.RUNNING and i not in held]
    taken = yield from _held(partitions, odd)  # by a worker, a moment ago
    refused |= {i: _nobodys(partitions, i) for i in odd if i not in taken}
    return [_refused(i, refused[i]) if i in refused else found[i] for i in ids]


def _refused(task_id: str, why: str) -> Outcome:
    return Outcome(id=task_id, done=False, state=life.RUNNING, refused=why)


def _nobodys(partitions: Partitions, task_id: str) -> str:
    return Advice(
        f"{task_id!r} is RUNNING without a registered run: push it, ",
        Typed(("redis-cli", "LPUSH", partitions.keys[partitions.of(task_id)].queue, task_id)),
        ", or start a monitor with slow_sweep=True",
    )


def _servers(partitions: Partitions) -> Op[list[str]]:
    """The replication id of the server of each partition: no other may execute the expiry."""
    words = ("INFO", "replication")
    answers = yield from ask_all(
        [(partition, words) for partition in range(len(partitions.keys))], tolerant=True
    )
    for one in answers:
        if isinstance(one, Exception) and not isinstance(one, Refused | Denied):
            raise one
    # As in a worker, it is not checked if the server does not report it or refuses INFO.
    return [
        "" if isinstance(one, Exception) else decoding.info(one).get("master_replid", "") for one in answers
    ]


def _held(partitions: Partitions, ids: Iterable[str]) -> Op[dict[str, Held]]:
    """The registered runs among these tasks."""
    found: dict[str, Held] = {}
    for partition, group in partitions.group(list(dict.fromkeys(ids))).items():
        keys = partitions.keys[partition]
        for at in range(0, len(group), STEP):
            part = group[at : at + STEP]
            commands = [
                (partition, (*words, i))
                for i in part
                for words in (("HGET", keys.runs), ("ZSCORE", keys.leases))
            ]
            for task_id, (run, lease) in zip(
                part, decoding.pairs((yield from ask_all(commands))), strict=True
            ):
                if run is not None:
                    found[task_id] = Held(decoding.shown(run), int(float(lease or 0)))
    return found


def _patience(partitions: Partitions, held: Mapping[str, Held], timing: Timing) -> Op[Timing]:
    """The timing with the longest expiry of the workers of these runs."""
    longest = timing.expiry
    for partition, group in partitions.group(list(held)).items():
        sessions = list(dict.fromkeys(held[i].run.rpartition(":")[0] for i in group))
        shown = yield from ask(partition, ("HMGET", partitions.keys[partition].worker_info, *sessions))
        infos = (read_info(text) for text in shown if text is not None)
        longest = max(longest, *(info.expiry or 0.0 for info in infos if info is not None), 0.0)
    return attrs.evolve(timing, expiry=longest)


def _renewed_lately(partitions: Partitions, held: Mapping[str, Held], timing: Timing) -> Op[dict[str, str]]:
    """Why runs are left unchanged that were renewed within the expiry, by the clock of Redis.

    That clock may have been set, so this only avoids a useless wait; it does not prove that a run is dead.
    """
    refused: dict[str, str] = {}
    for partition, group in partitions.group(list(held)).items():
        seconds, micros = yield from ask(partition, ("TIME",))
        now = int(seconds) + int(micros) / 1e6
        for task_id in group:
            silent = now - held[task_id].lease / 1e6
            if -timing.heartbeat <= silent <= timing.expiry:
                refused[task_id] = _alive(task_id, f"{max(0.0, silent):.0f} s ago", timing)
    return refused


def _alive(task_id: str, when: str, timing: Timing) -> str:
    return Advice(
        f"{task_id!r} is running: its lease was renewed {when}. Only after {timing.expiry:g} s without a"
        " renewal it is certain that its worker no longer executes it: ",
        Call("stop", task_id),
        ", or try again then",
    )


def _watch(partitions: Partitions, held: Mapping[str, Held], timing: Timing) -> Op[dict[str, str]]:
    """Why runs are left unchanged whose lease was renewed while it was observed."""
    began = yield Now()
    refused: dict[str, str] = {}
    while len(refused) < len(held):
        left = began + timing.expiry + MOMENT - (yield Now())
        if left <= 0:
            break
        yield Pause(min(left, timing.heartbeat))
        waiting = [i for i in held if i not in refused]
        now = yield from _held(partitions, waiting)
        for task_id in waiting:
            if task_id in now and now[task_id] != held[task_id]:
                refused[task_id] = _alive(task_id, "while it was observed", timing)
    return refused


def _expire(partitions: Partitions, dead: Mapping[str, Held], servers: Sequence[str]) -> Op[dict[str, str]]:
    """Expire each; returns why some were left unchanged at the last moment.  Crashes are reset."""
    refused: dict[str, str] = {}
    for partition, group in partitions.group(list(dead)).items():
        for at in range(0, len(group), CHUNK):
            part = [Expiry(id=i, run=dead[i].run, seen=dead[i].lease) for i in group[at : at + CHUNK]]
            verdicts = yield from verbs.expire(partitions, partition, part, servers[partition])
            for one, verdict in zip(part, verdicts, strict=True):
                if verdict is Verdict.RENEWED:
                    refused[one.id] = f"{one.id!r} is running: its lease was renewed at the last moment"
    return refused
