"""What clients do to tasks that save, pause and reload, and faults that catch the calls for them.

They have a plan and a stream of their own: the plans of the other faults stay what they were.
"""

from __future__ import annotations

from pytask.domain.messages import Command
from tests.simulation.policy_faults import Act
from tests.simulation.steering import DIES, GOOD, LATE, RAISES, REFUSED, RULES

AIMED = (
    "renew", "save", "commit", "reload", "refuse", "settle", "accept", "claim", "confirm", "serve", "control",
)  # fmt: skip
DATA = (GOOD, GOOD, GOOD, REFUSED, RAISES, DIES, DIES, LATE)
OFTEN = ("reload", "reload_again")
KINDS = {}


def kind(fn):
    KINDS[fn.__name__] = fn
    return fn


def draw(random, *, length):
    """About 16 of them."""
    number = random.randint(10, 22)
    times = sorted(random.uniform(5, length) for _ in range(number))
    names = [*sorted(KINDS), *OFTEN, *OFTEN]
    return [Act(at, random.choice(names), random.random()) for at in times]


def _one(world, random, *, reloads=False):
    jobs = world.steering.jobs
    return random.choice(sorted(i for i, job in jobs.items() if job.reloads or not reloads))


def _running(world, random, *, reloads=False):
    """One that runs, most times."""
    jobs, other = world.steering.jobs, _one(world, random, reloads=reloads)
    ids = sorted(i for i in world.server.state.runs if i in jobs and (jobs[i].reloads or not reloads))
    return random.choice(ids) if ids and random.random() < 0.7 else other


# -- reloads ----------------------------------------------------------------------------------------------


def _reloaded(world, random):
    """A task that runs, if possible: another is started with good data."""
    task_id = _running(world, random, reloads=True)
    if task_id not in world.server.state.runs:
        world.steering.write_data(task_id, GOOD)
        world.push(task_id)
    return task_id


def _reload(world, random, at):
    task_id, kind = _reloaded(world, random), random.choice(DATA)
    if random.random() < 0.7:
        world.after(at, lambda: world.steering.reload(task_id, kind))
        return
    pause = random.choice((0.0, 0.0, random.uniform(0.0, 20.0)))
    world.after(at, lambda: world.steering.write_data(task_id, kind))
    world.after(at + pause, lambda: world.control(task_id, Command.RELOAD))


@kind
def reload(world, random):
    for _ in range(random.randint(1, 4)):
        _reload(world, random, random.uniform(0, 15))


@kind
def reload_again(world, random):
    """Other data, while a reload of it is under way or on trial."""
    task_id = _reloaded(world, random)
    for _ in range(random.randint(2, 4)):
        at, data = random.choice((random.uniform(0, 1), random.uniform(0, 14))), random.choice(DATA)
        world.after(at, lambda data=data: world.steering.write_data(task_id, data))
        world.after(at, lambda: world.control(task_id, Command.RELOAD))


# -- pauses -----------------------------------------------------------------------------------------------


@kind
def pause(world, random):
    for _ in range(random.randint(1, 3)):
        task_id, at = _running(world, random), random.choice((0.0, random.uniform(0, 10)))
        world.after(at, lambda task_id=task_id: world.control(task_id, Command.PAUSE))
        for _ in range(random.choice((0, 1, 1, 2))):
            later = at + random.choice((random.uniform(0, 2), random.uniform(2, 120)))
            world.after(later, lambda task_id=task_id: world.control(task_id, Command.START))


@kind
def pause_and_more(world, random):
    """Stops, reloads, pushes and starts of a task that is paused, or about to be."""
    task_id = _running(world, random)
    words = (Command.PAUSE, Command.PAUSE, Command.START, Command.STOP, Command.RELOAD)
    for _ in range(random.randint(3, 8)):
        word, at = random.choice(words), random.choice((random.uniform(0, 2), random.uniform(0, 30)))
        world.after(at, lambda word=word: world.control(task_id, word))
    if random.random() < 0.5:
        world.after(random.uniform(0, 30), lambda: world.push(task_id))
    world.after(random.uniform(30, 90), lambda: world.control(task_id, Command.START))


@kind
def pause_and_kill(world, random):
    """The worker of a paused run dies, or is replaced: no other run begins."""
    task_id = _running(world, random)
    world.control(task_id, Command.PAUSE)

    def end():
        run = world.server.state.runs.get(task_id, "")
        process = world.processes.get(run.partition(".")[0])
        if process is not None and not process.dead:
            if random.random() < 0.6:
                process.kill("kill -9")
            else:
                world.replace(process, early=random.random() < 0.5)

    world.after(random.choice((random.uniform(0, 1), random.uniform(1, 20))), end)
    world.after(random.uniform(100, 200), lambda: world.control(task_id, Command.START))


@kind
def pause_function(world, random):
    name = world.steering.jobs[_one(world, random)].function if random.random() < 0.8 else "*"
    world.steering.hold([name])
    world.after(random.uniform(1, 60), lambda: world.steering.hold([name], resume=True))


# -- limits -------------------------------------------------------------------------------------------------


@kind
def push_group(world, random):
    """Many tasks of few groups."""
    ids = sorted(i for i, job in world.steering.jobs.items() if not job.reloads)
    for _ in range(random.randint(3, 10)):
        task_id = random.choice(ids)
        world.after(random.uniform(0, 6), lambda task_id=task_id: world.push(task_id))


@kind
def change_limit(world, random):
    """HSET and HDEL of limits; one that is no number counts as none."""
    jobs = world.steering.jobs.values()
    # Of a group of one at a time the judge knows no other limit.
    fixed = {job.group for job in jobs if RULES[job.function].get("GROUP_LIMIT") == 1}
    entries = {f"group:{job.group}" for job in jobs if job.group and job.group not in fixed}
    entries |= {f"function:{job.function}" for job in jobs if job.group or not job.reloads}
    if not fixed:
        entries.add("group:*")
    entry = random.choice(sorted(entries))
    for _ in range(random.randint(1, 3)):
        text = random.choice(("0", "1", "2", "3", "3", "many", None))
        world.after(random.uniform(0, 40), lambda text=text: world.steering.limit(entry, text))
    last = random.choice(("1", "2", None))
    world.after(random.uniform(40, 90), lambda: world.steering.limit(entry, last))


@kind
def kill_holder(world, random):
    """Kill -9 of a worker that holds a slot: it is free with the expiry of its run."""
    state, jobs = world.server.state, world.steering.jobs
    runs = [run for task_id, run in sorted(state.runs.items()) if task_id in jobs and jobs[task_id].group]
    if runs:
        world.at_place(random.choice(runs).partition(".")[0], lambda process: process.kill("kill -9"))


# -- what a task has saved ----------------------------------------------------------------------------------


@kind
def start_fresh(world, random):
    task_id = _one(world, random)
    if random.random() < 0.7:
        world.control(task_id, Command.STOP)
    world.after(random.uniform(0, 12), lambda: world.steering.start_fresh(task_id))


@kind
def push_steered(world, random):
    for _ in range(random.randint(1, 5)):
        task_id = _one(world, random)
        world.after(random.uniform(0, 10), lambda task_id=task_id: world.push(task_id))


@kind
def stop_steered(world, random):
    task_id = _one(world, random)
    world.control(task_id, Command.STOP)
    if random.random() < 0.8:
        world.after(random.uniform(0.0, 40), lambda: world.control(task_id, Command.START))


@kind
def recreate_steered(world, random):
    if random.random() < 0.5 and world.may_lose("hash"):
        task_id = _one(world, random)
        world.after(random.uniform(0, 8), lambda: world.push(task_id, anew=True))


# -- calls --------------------------------------------------------------------------------------------------


@kind
def kill_in_steering_call(world, random):
    place = world.options.place or random.choice(world.places)
    world.aim(place, random.choice(AIMED), lambda process: process.kill("kill -9"))


@kind
def lose_steering_replies(world, random):
    place = random.choice(world.places)
    seconds = random.uniform(5, 40)

    def begin(process):
        link = world.links[process.place]
        link.lose_replies += 1
        world.after(seconds, lambda: setattr(link, "lose_replies", max(0, link.lose_replies - 1)))

    world.aim(place, random.choice(AIMED), begin)


@kind
def deploy_steered(world, random):
    """SIGTERM of one worker: none of what its tasks saved is lost."""
    world.at_place(random.choice(world.places), lambda process: world.replace(process, early=True))
