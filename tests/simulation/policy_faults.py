"""What clients do to delayed and flapping tasks and to schedules, and faults that catch the calls for them.

They have a plan and a stream of their own: the plans of the other faults stay what they were.
"""

from __future__ import annotations

import attrs

from pytask.domain.messages import Command

AIMED = ("due", "schedules.fire", "schedules.due", "commit", "claim")
KINDS = {}


def kind(fn):
    KINDS[fn.__name__] = fn
    return fn


@attrs.frozen
class Act:
    """One of a world's plan."""

    at: float
    kind: str
    seed: float


def draw(random, *, length):
    """About 14 of them."""
    number = random.randint(8, 20)
    times = sorted(random.uniform(5, length) for _ in range(number))
    return [Act(at, random.choice(sorted(KINDS)), random.random()) for at in times]


def _waiting(world, random):
    """A task that waits in the timers, or one that may."""
    ids = [i for i in sorted(world.server.state.timers) if i in world.jobs]
    return random.choice(ids or [i for i in sorted(world.jobs) if i[0] in "dfo"])


@kind
def start_waiting(world, random):
    for _ in range(random.randint(1, 3)):
        world.after(random.uniform(0, 10), lambda: world.control(_waiting(world, random), Command.START))
    return 10.0


@kind
def stop_waiting(world, random):
    def stop():
        task_id = _waiting(world, random)
        world.control(task_id, Command.STOP)
        if random.random() < 0.7:
            world.after(random.uniform(1, 60), lambda: world.control(task_id, Command.START))

    for _ in range(random.randint(1, 2)):
        world.after(random.uniform(0, 10), stop)
    return 10.0


@kind
def push_waiting(world, random):
    for _ in range(random.randint(1, 3)):
        world.after(random.uniform(0, 10), lambda: world.push(_waiting(world, random)))
    return 10.0


@kind
def kill_in_policy_call(world, random):
    place = world.options.place or random.choice(world.places)
    world.aim(place, random.choice(AIMED), lambda process: process.kill("kill -9"))
    return 5.0


@kind
def lose_policy_replies(world, random):
    place = random.choice(world.places)
    seconds = random.uniform(5, 40)

    def begin(process):
        link = world.links[process.place]
        link.lose_replies += 1
        world.after(seconds, lambda: setattr(link, "lose_replies", max(0, link.lose_replies - 1)))

    world.aim(place, random.choice(AIMED), begin)
    return seconds


@kind
def pause_schedule(world, random):
    name = _schedule(world, random)
    seconds = random.uniform(5, 200)
    world.policies.pause_schedule(name, paused=True)
    world.after(seconds, lambda: world.policies.pause_schedule(name, paused=False))
    return seconds


@kind
def change_schedule(world, random):
    """By a client; a worker that starts later brings back what its code says."""
    name = _schedule(world, random)
    word = random.choice(("skip", "queue", "replace"))
    world.policies.change_schedule(name, word, random.choice(("once", "skip")))
    return 5.0


@kind
def remove_schedule(world, random):
    name = _schedule(world, random)
    world.policies.remove_schedule(name)
    world.after(random.uniform(1, 60), lambda: world.policies.add_schedule(name))
    return 60.0


@kind
def control_scheduled(world, random):
    """Start, stop or reload the task of a schedule by hand: its times do not change."""
    name = _schedule(world, random)
    for _ in range(random.randint(1, 4)):
        command = random.choice((Command.START, Command.STOP, Command.RELOAD))
        world.after(random.uniform(0, 30), lambda c=command: world.control(name, c))
    return 30.0


def _schedule(world, random):
    return random.choice(sorted(world.policies.schedules) or ["s0"])
