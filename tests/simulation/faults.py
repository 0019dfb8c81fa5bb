"""The kinds of fault, and the swarm: each world draws its own subset of them, and how often each comes.

A fault is a function (world, random) that begins it and returns how many seconds it lasts.
"""

from __future__ import annotations

import attrs

from pytask.domain.messages import Command

NOMINAL = 5.0  # seconds for which a fault that is over at once counts as going on
AIMED = ("claim", "claim", "renew", "commit", "expire", "reload", "open_local", "control")
KINDS = {}


def kind(fn):
    """Register a kind under the function's name."""
    KINDS[fn.__name__] = fn
    return fn


@attrs.frozen
class Fault:
    """One of a world's plan."""

    at: float
    kind: str
    seed: float


def draw(random, *, length, include=(), exclude=()):
    """The plan of one world: about 38 faults, of a subset of the kinds, each with a rate of its own."""
    names = [name for name in KINDS if name not in exclude]
    chosen = [name for name in names if name in include or random.random() < 0.55] or names
    weights = [random.choice((0.3, 1.0, 1.0, 2.0, 4.0)) * (6 if name in include else 1) for name in chosen]
    number = random.randint(30, 46)
    times = sorted(random.uniform(5, length) for _ in range(number))
    kinds = random.choices(chosen, weights, k=number)
    return [Fault(at, name, random.random()) for at, name in zip(times, kinds, strict=True)]


def _place(world, random):
    return world.options.place or random.choice(world.places)


def _at_process(world, random, act):
    """Do `act(process)` now, or when a call of a drawn verb is on its way, which is when it hurts most."""
    place = _place(world, random)
    verbs = world.options.aim or AIMED
    if random.random() < (0.9 if world.options.aim else 0.5):
        world.aim(place, random.choice(verbs), act)
    else:
        world.at_place(place, act)


# -- processes ----------------------------------------------------------------------------------------


@kind
def kill(world, random):
    _at_process(world, random, lambda process: process.kill("kill -9"))
    return NOMINAL


@kind
def sigstop(world, random):
    seconds = random.choice((random.uniform(3, 60), random.uniform(60, 110), random.uniform(85, 200)))
    _at_process(world, random, lambda process: world.stop_process(process, seconds))
    return seconds


@kind
def hog(world, random):
    seconds = random.choice((random.uniform(2, 60), random.uniform(60, 120)))
    place = _place(world, random)
    world.at_place(place, lambda process: world.hog_process(process, seconds))
    return seconds


@kind
def sigterm(world, random):
    early = random.random() < 0.6
    _at_process(world, random, lambda process: world.replace(process, early))
    return 12.0


@kind
def monitor(world, random):
    pause = random.uniform(1, 60)
    world.toggle_monitor(random, pause)
    return pause


# -- the way between ----------------------------------------------------------------------------------


def _link(name, low, high):
    def fault(world, random):
        seconds = random.uniform(low, high)

        def begin(process):
            link = world.links[process.place]
            setattr(link, name, getattr(link, name) + 1)
            world.after(seconds, lambda: setattr(link, name, max(0, getattr(link, name) - 1)))

        _at_process(world, random, begin)
        return seconds

    return fault


KINDS["slow"] = _link("slow", 20, 150)
KINDS["lost_requests"] = _link("lose_requests", 10, 90)
KINDS["lost_replies"] = _link("lose_replies", 10, 90)
KINDS["cut"] = _link("cut", 3, 130)
KINDS["deaf"] = _link("deaf", 10, 130)
KINDS["mute_feed"] = _link("mute_feed", 5, 90)


# -- the server ---------------------------------------------------------------------------------------


@kind
def down(world, random):
    seconds = random.uniform(1, 90)
    world.server.go_down()
    world.after(seconds, lambda: world.server.down and world.server.come_up())
    return seconds


@kind
def frozen(world, random):
    seconds = random.choice((random.uniform(1, 30), random.uniform(30, 100)))
    world.server.freeze()
    world.after(seconds, lambda: world.server.frozen and world.server.thaw())
    return seconds


def _server(name, low, high):
    def fault(world, random):
        server = world.server
        setattr(server, name, getattr(server, name) + 1)
        seconds = random.uniform(low, high)
        world.after(seconds, lambda: setattr(server, name, max(0, getattr(server, name) - 1)))
        return seconds

    return fault


KINDS["read_only"] = _server("read_only", 2, 100)
KINDS["full"] = _server("full", 5, 200)


@kind
def time_step(world, random):
    step = random.choice((30, 60, 120, 600, 7200)) * random.choice((1, 1, -1))
    world.server.clock_step += step
    world.server.stepped = True
    if step > 0:
        world.evidence.heard.stepped()
    world.note(None, "Redis TIME", f"{step:+d} s")
    return 90.0


@kind
def failover(world, random):
    """Another server takes over, without what was acknowledged in the last 1 to 30 s; see `prepare`.

    A planned change may follow before the pause in claims is over, of which it is known that nothing is lost.
    """
    snapshot = world.snapshots.pop(_lag(random), None)
    away = random.choice((0.0, random.uniform(0.5, 15)))
    later, followed = random.uniform(2, world.timing.embargo), random.random() < 1 / 3
    if snapshot is not None:
        world.fail_over(snapshot, away)
        if followed:
            world.after(away + later, world.change_safely)
    return away + world.timing.embargo


def _lag(random):
    return random.uniform(1, 30)


def prepare(world, fault, random):
    """Before a failover: keep what the replica will have."""
    if fault.kind == "failover":
        lag = _lag(random)
        world.after(max(0.0, fault.at - lag), lambda: world.save(lag))


@kind
def switch(world, random):
    """A planned failover, which loses nothing."""
    world.fail_over(world.server.snapshot(), 0.0)
    return world.timing.embargo


# -- data ---------------------------------------------------------------------------------------------


@kind
def lost_runs(world, random):
    """DEL pytask:runs.  Not after a hash was recreated: then nothing shows that the old run lives."""
    if world.spared != "runs" and world.may_lose("runs"):
        world.lose_runs()
    return 10.0


@kind
def lost_leases(world, random):
    if world.spared != "leases":
        world.server.client(lambda state: state.leases.clear())
    return 10.0


@kind
def flush(world, random):
    """FLUSHALL; clients push their unfinished tasks again once every old run must have stopped."""
    if world.may_lose("runs"):
        world.flush()
    return 90.0


@kind
def recreate(world, random):
    if world.may_lose("hash"):
        for task_id in random.sample(world.common, random.randint(1, 3)):
            world.after(random.uniform(0, 8), lambda task_id=task_id: world.push(task_id, anew=True))
    return 15.0


# -- clients ------------------------------------------------------------------------------------------


@kind
def duplicates(world, random):
    task_id = random.choice(world.common)
    for _ in range(random.randint(1, 12)):
        world.after(random.uniform(0, 20), lambda: world.push(task_id))
    return 20.0


@kind
def control_storm(world, random):
    commands = (Command.STOP, Command.START, Command.RELOAD)
    ids = random.sample(world.common, random.randint(1, 3))
    for _ in range(random.randint(1, 12)):
        task_id, command = random.choice(ids), random.choice(commands)
        world.after(random.uniform(0, 20), lambda i=task_id, c=command: world.control(i, c))
    return 20.0


@kind
def stop_reasons(world, random):
    """HSET id control stop (or reload), often while a reload of it is under way."""
    for task_id in random.sample(world.common, random.randint(1, 3)):
        at = random.uniform(0, 20)
        if random.random() < 0.7:
            world.after(at, lambda i=task_id: world.control(i, Command.RELOAD))
        word = random.choice((Command.STOP, Command.STOP, Command.RELOAD))
        pause = random.choice((random.uniform(0, 0.1), random.uniform(0, 12)))
        world.after(at + pause, lambda i=task_id, w=word: world.stop_reason(i, w))
    return 32.0
