"""The kinds of fault: each does one, heals it, and returns; many run at once, in threads."""

import json
import os
import random
import signal
import subprocess
import threading
import time
from contextlib import suppress

import redis

from tests.chaos.world import READY, STEERED, D, E, K, T, twin

EFFECT = 6.0  # seconds after which the effect of a control message is no longer waited for


def half(dice, below, above):
    """One of the two ranges, each half of the time."""
    return dice.uniform(*(below if dice.random() < 0.5 else above))


# -- processes ----------------------------------------------------------------------------------------------


def kill(world, worker, dice):
    with world.fault(
        "kill monitor" if worker.monitors else "kill", worker.name, READY, pid=worker.process.pid
    ):
        worker.signal(signal.SIGKILL)


def stop(world, worker, dice):
    # A third of them longer than K: the kernel's timer ends the process as it wakes up.
    seconds = dice.uniform(K + 0.5, 3 * T) if dice.random() < 1 / 3 else dice.uniform(0.3, K)
    pid = worker.pids[1]
    with world.fault("stop", worker.name, READY, f"{seconds:.1f} s", pid):
        freeze(world, pid, seconds)


def freeze(world, pid, seconds):
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        world.over.wait(seconds)
        os.kill(pid, signal.SIGCONT)


def term(world, worker, dice):
    with world.fault("term", worker.name, READY, pid=worker.process.pid):
        terminate(worker)


def terminate(worker):
    """SIGTERM; returns when it is gone, or after 20 s."""
    process = worker.process
    worker.signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(20)


# -- the network --------------------------------------------------------------------------------------------


def blackhole(world, worker, dice):
    with world.fault("blackhole", worker.name, READY):
        worker.proxy.blackhole()
        world.over.wait(half(dice, (0.3, D), (D, 1.5 * T)))
        worker.proxy.pass_()


def drop_replies(world, worker, dice):
    with world.fault("drop replies", worker.name, READY):
        worker.proxy.drop_replies()
        world.over.wait(half(dice, (0.3, D), (D, 1.5 * T)))
        worker.proxy.pass_()


def cut_after_request(world, worker, dice):
    with world.fault("cut after request", worker.name, 2.0):
        # Only scripts: their replies are the ones that matter.
        worker.proxy.cut_after_request(count=dice.randint(1, 5), containing="EVAL")
        world.over.wait(1.0)


def delay(world, worker, dice):
    with world.fault("delay", worker.name, 2.0):
        worker.proxy.delay(0.02, 0.24)
        world.over.wait(dice.uniform(1, 8))
        worker.proxy.pass_()


# -- Redis --------------------------------------------------------------------------------------------------


def command(world, *words, timeout=3, tries=1):
    """A command on a connection of its own; again until it is answered, if that is wanted."""
    for left in reversed(range(tries)):
        client = world.connect(socket_timeout=timeout)
        try:
            return client.execute_command(*words)
        except (redis.RedisError, OSError) as error:
            if not left:
                world.errors.append(f"{' '.join(map(str, words))}: {error}")
            else:
                time.sleep(0.2)
        finally:
            client.close()
    return None


def redis_kill(world, _, dice):
    with world.fault("redis kill", "server", READY + E):
        world.server.kill()
        world.over.wait(half(dice, (0, 2), (2, 1.2 * D)))
        world.server.start()


def redis_freeze(world, _, dice):
    with world.fault("redis freeze", "server", READY):
        world.server.freeze()
        world.over.wait(half(dice, (0.2, 0.9 * D), (1.05 * D, 2 * D)))
        world.server.thaw()


def redis_sleep(world, _, dice):
    seconds = half(dice, (0.2, 0.9 * D), (1.05 * D, 2 * D))
    with world.fault("redis sleep", "server", READY):
        command(world, "DEBUG", "SLEEP", f"{seconds:.2f}", timeout=seconds + 5)


def pause_write(world, _, dice):
    seconds = half(dice, (0.5, 0.9 * D), (1.05 * D, 1.5 * T))
    with world.fault("client pause write", "server", READY):
        command(world, "CLIENT", "PAUSE", int(seconds * 1000), "WRITE")
        world.over.wait(seconds)
        command(world, "CLIENT", "UNPAUSE", tries=10)


def maxmemory(world, _, dice):
    with world.fault("maxmemory", "server", READY):
        command(world, "CONFIG", "SET", "maxmemory", "1mb")
        world.over.wait(dice.uniform(1, 1.5 * T))
        command(world, "CONFIG", "SET", "maxmemory", "0", tries=10)


def misconf(world, _, dice):
    """A failed snapshot: a directory stands where its file should."""
    (world.server.folder / "blocked.rdb").mkdir(exist_ok=True)
    with world.fault("misconf", "server", READY):
        command(world, "CONFIG", "SET", "dbfilename", "blocked.rdb", "save", "3600 1")
        command(world, "BGSAVE")
        world.over.wait(dice.uniform(1, 1.2 * T))
        command(world, "CONFIG", "SET", "dbfilename", "dump.rdb", "save", "", tries=10)


def readonly(world, _, dice):
    with world.fault("readonly", "server", READY + E):
        command(world, "REPLICAOF", "127.0.0.1", "1")
        world.over.wait(half(dice, (0.5, 0.9 * D), (1.05 * D, 1.2 * T)))
        command(world, "REPLICAOF", "NO", "ONE", tries=10)


def flush_all(world, _, dice):
    with world.fault("flushall", "server", READY + 2):
        client = world.connect(socket_timeout=3)
        try:
            world.recorder.flush_all(client)
        except (redis.RedisError, OSError) as error:
            world.errors.append(f"flushall: {error}")
        finally:
            client.close()


def drop_keys(world, _, dice):
    names = ["pytask:runs", "pytask:leases", "pytask:workers", "pytask:index:ENDED", "pytask:monitors"]
    chosen = dice.sample(names, dice.randint(1, 3))
    if lately(world.remade):
        chosen = [name for name in chosen if name != "pytask:runs"] or ["pytask:workers"]
    if "pytask:runs" in chosen:
        world.unregistered = time.monotonic()
    # A dead worker's runs without registry or lease are found by the slow sweep, which comes every T.
    with world.fault("del keys", "server", T + 3, " ".join(chosen)):
        world.do("drop", chosen)


def clock_step(world, _, dice):
    with world.fault("clock step", "server", 1.0) as made:
        seconds = dice.choice((-1, 1)) * dice.choice((30, 120, 1800, 7200))
        made.note = f"{seconds} s"
        world.clock.set(seconds)
        world.over.wait(dice.uniform(1, T))
        if dice.random() < 0.5:
            world.clock.set(0)


# -- tasks --------------------------------------------------------------------------------------------------


def bad_task(function, kind, hinders):
    def push(world, _, dice):
        name = f"{function}{world.pushed}"
        with world.fault(kind, "tasks", hinders):
            world.push(name, function, **{"for": dice.uniform(K + 1, K + 4)})

    return push


def stubborn_reload(world, _, dice):
    """Reload a task that cannot be killed: it stays, and so does its worker."""
    with world.fault("stubborn reload", "tasks"):
        name = f"stubborn{world.pushed}"
        world.push(name, "stubborn", **{"for": dice.uniform(2, K + 4)})
        world.over.wait(1.0)
        world.publish(name, "reload")


def lately(moment):
    """Registry and hash lost together are not covered: then nothing in Redis knows of the run."""
    return time.monotonic() - moment < T + K


def recreate(world, _, dice):
    if lately(world.unregistered):
        return
    world.remade = time.monotonic()
    with world.fault("del + recreate", "tasks"):
        for task_id in some(world, dice, 3):
            function = twin(task_id, "long" if task_id.startswith("long") else "short")
            world.do(
                "recreate", [task_id, "new-task"], [function, json.dumps({"for": dice.uniform(0.5, 20)})]
            )


def delete(world, _, dice):
    if lately(world.unregistered):
        return
    world.remade = time.monotonic()
    with world.fault("del task", "tasks"):
        for task_id in some(world, dice, 1):
            world.do("delete", [task_id])


def duplicates(world, _, dice):
    with world.fault("duplicate pushes", "tasks"):
        for task_id in some(world, dice, 3):
            world.do("again", [task_id, "new-task"], [dice.randint(1, 50)])


def storm(world, _, dice):
    with world.fault("control storm", "tasks"):
        ids = [*some(world, dice, 3), *(world.ids("STOPPED")[:50] or [])[:3]]
        for _ in range(dice.randint(5, 40)):
            if ids:
                world.publish(dice.choice(ids), dice.choice(("stop", "start", "reload", "nonsense")))


def some(world, dice, number):
    ids = world.ids("RUNNING", ("long", "short"))
    return dice.sample(ids, min(number, len(ids)))


# -- asked all the time -------------------------------------------------------------------------------------


class Zombies(threading.Thread):
    """Sends what superseded runs would send, through the library's own store: all must be refused."""

    def __init__(self, world):
        super().__init__(daemon=True)
        self.world = world
        self.asked = 0
        self.begun = threading.Event()
        self.answers = {}
        self.accepted = []

    def run(self):
        from pytask.adapters.keys import Keys
        from pytask.adapters.redis.store import RedisStore
        from pytask.domain.lifecycle import Trigger
        from pytask.domain.record import Change, RunRef
        from tests.chaos.audit import wrap_store

        wrap_store("test")
        store = RedisStore(self.world.raw_client(), Keys(""))
        dice = random.Random(self.world.options.seed + 2)
        while not self.world.over.wait(0.25):
            old = [
                (i, r)
                # (A copy is made in one step; in a list of items another thread may add one meanwhile.)
                for r, (i, verb, at) in list(self.world.replay.ended.copy().items())[-400:]
                if verb != "reload" and self.world.settled(at)
            ]
            refs = [RunRef(i, r) for i, r in dice.sample(old, min(6, len(old)))]
            if not refs:
                continue
            try:
                verdicts = store.renew(refs)
                self._count("renew", [verdicts.get(ref, "OK") for ref in refs], refs)
                changes = [Change(r.id, r.run, b"{}", Trigger.END) for r in refs]
                self._count("commit", store.commit(changes), refs)
                events = [Change(r.id, r.run, b'{"event":"zombie"}') for r in refs]
                self._count("event", store.commit(events), refs)
                new = RunRef(refs[0].id, f"zombie:{self.asked}")
                self._count("reload", [store.reload(refs[0], new, "zombie", 1 << 20).verdict], refs)
                self.begun.set()
            except Exception as error:
                self.world.errors.append(f"zombie: {error}")

    def _count(self, verb, verdicts, refs):
        self.asked += len(verdicts)
        for ref, verdict in zip(refs, verdicts, strict=False):
            key = f"{verb} {verdict}"
            self.answers[key] = self.answers.get(key, 0) + 1
            if verdict == "OK":
                self.accepted.append((verb, ref.id, ref.run))


class Steerer(threading.Thread):
    """Stops, starts and reloads tasks that nobody else touches, and measures when it is effective."""

    def __init__(self, world):
        super().__init__(daemon=True)
        self.world = world
        self.done = threading.Event()

    def leave(self):
        """Send no more, and wait for the effect of what was sent."""
        self.done.set()
        self.join(EFFECT + 5)

    def run(self):
        world = self.world
        dice = random.Random(world.options.seed + 3)
        turn = 0
        while not self.done.wait(0.5):
            # After FLUSHALL other ids: a run that Redis forgot may act for H longer, and its id must not be
            # pushed again in that time.
            task_id = f"steer{turn % STEERED}-{world.replay.verbs['client', 'flush']}"
            turn += 1
            known = world.replay.tasks[task_id]
            state = known.view.state
            if state not in ("RUNNING", "STOPPED"):
                if not state and not known.pushed:
                    world.push(task_id, "long", **{"for": 1e6})
                    self._until(lambda k=known: k.view.state == "RUNNING", 3)
                continue
            word = "start" if state == "STOPPED" else dice.choice(("stop", "reload"))
            run = known.view.run
            sent = time.monotonic_ns()
            if world.publish(task_id, word) is None:
                continue
            effect = {
                "stop": lambda k=known: k.view.state == "STOPPED",
                "start": lambda k=known: k.view.state in ("WAIT", "RUNNING"),
                "reload": lambda k=known, r=run: k.view.run != r,
            }[word]
            at = self._until(effect, EFFECT)
            world.controls.append([task_id, word, sent, at, run])

    def _until(self, condition, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self.world.over.is_set():
            if condition():
                return time.monotonic_ns()
            time.sleep(0.01)
        return 0
