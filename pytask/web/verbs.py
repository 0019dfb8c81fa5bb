"""The actions on tasks: what each is called, to which states it applies, and the call of the client."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from pytask.client import Client
from pytask.client.records import Outcome
from pytask.client.task_records import FINISHED
from pytask.domain import lifecycle as life
from pytask.domain.lifecycle import State
from pytask.web.site import Note
from pytask.web.text import cut

Many = Callable[[Client, Sequence[str]], list[Outcome]]
STEP = 1000  # tasks of one call
REASONS = 10  # that are shown


@attrs.frozen
class Verb:
    """An action."""

    name: str
    title: str
    past: str
    states: tuple[State, ...]
    act: Many
    serious: bool = False  # it ends or deletes something


LIVE = (life.RUNNING, life.WAIT)


def _stop(client: Client, ids: Sequence[str]) -> list[Outcome]:
    return client.stop_many(ids)


def _start(client: Client, ids: Sequence[str]) -> list[Outcome]:
    return client.start_again_many(ids)


def _pause(client: Client, ids: Sequence[str]) -> list[Outcome]:
    return client.pause_many(ids)


def _reload(client: Client, ids: Sequence[str]) -> list[Outcome]:
    return client.reload_many(ids)


def _delete(client: Client, ids: Sequence[str]) -> list[Outcome]:
    # Checked with the deletion: a task that waits again by now is left.
    return client.remove_many(ids, state=FINISHED)


VERBS: dict[str, Verb] = {
    verb.name: verb
    for verb in (
        Verb("stop", "Stop", "stopped", LIVE, _stop, serious=True),
        Verb("start", "Start", "started again", FINISHED, _start),
        Verb("pause", "Pause", "paused", LIVE, _pause),
        Verb("resume", "Resume", "resumed", LIVE, _start),
        Verb("reload", "Reload", "reloaded", (life.RUNNING,), _reload),
        Verb("requeue", "Requeue", "queued again", (life.ERROR,), _start),
        Verb("delete", "Delete", "deleted", FINISHED, _delete, serious=True),
    )
}


def carried_out(verb: Verb, client: Client, ids: Sequence[str]) -> Note:
    """Act on all of them, and tell what happened."""
    outcomes = [one for at in range(0, len(ids), STEP) for one in verb.act(client, ids[at : at + STEP])]
    done = sum(one.done for one in outcomes)
    asked = sum(one.requested and not one.done for one in outcomes)
    left = [one for one in outcomes if not one.done and not one.requested]
    parts = [f"{done:,} {verb.past}"] if done or not asked else []
    parts += [f"{asked:,} asked to {verb.name}, which their workers do now"] if asked else []
    parts += [f"{len(left):,} left as they were"] if left else []
    reasons = tuple(cut(f"{one.id}: {_why_not(one)}", 300) for one in left[:REASONS])
    return Note(f"{'; '.join(parts)}.", good=not left, lines=reasons)


def _why_not(one: Outcome) -> str:
    if one.refused:
        return one.refused
    return "there is no such task" if one.state is None else f"it is {one.state}"
