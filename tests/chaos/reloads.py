"""`python -m tests.chaos.reloads --reloads 1000 --seed N`: random reloads, good and bad.

Two workers at three tenths of the real times, tasks that take new data in place and tasks that are started
again.
Each reload has an outcome, and from then on the version that the task works with, as it writes it to a file
outside of Redis, must be the one of this outcome; no task may ever come to rest.  Exit code 1 on a violation.
"""

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import redis

import pytask
from pytask.client import Outcome
from tests.support import cli_tools
from tests.support.cli_tools import PATIENCE, Started, until, write
from tests.support.servers import start_server

TASKS = """
    import os
    from pathlib import Path
    import gevent
    from pytask import Task
    from pytask.errors import BadData

    FOLDER = Path(os.environ["EVIDENCE"])

    class Versioned(Task):
        @classmethod
        def check(cls, data):
            if not isinstance(data.get("version"), int):
                raise BadData("version is no number", "$.version")
            if data.get("how") == "check":
                raise ValueError("the check refuses it")
            if data.get("how") == "broken check":
                raise KeyError("a bug in the check")
        def __init__(self, data):
            super().__init__(data)
            if data.get("how") == "init":
                raise RuntimeError("it cannot be built")
        def write(self):
            path = FOLDER / self.id
            new = path.with_name(f".{self.id}.{os.getpid()}")
            new.write_text(f"{self.task_data['version']} {self.epoch}")
            new.replace(path)
        def start(self):
            how = self.task_data.get("how")
            if how == "at once":
                raise self.Error("it fails at once")
            began = gevent.get_hub().loop.now()
            while True:
                self.write()
                gevent.sleep(0.02)
                how = self.task_data.get("how")
                lived = gevent.get_hub().loop.now() - self.since(began)
                if how == "soon" and lived > 0.05:
                    raise RuntimeError("it fails soon")
                if how == "late" and lived > 0.5:
                    raise RuntimeError("it fails late")
        def since(self, began):
            return getattr(self, "taken", began)

    class Again(Versioned):
        class Config:
            NAME = "again"

    class Live(Versioned):
        class Config:
            NAME = "live"
        def on_reload(self, data):
            if data.get("how") == "init":
                raise RuntimeError("it cannot be taken")
            if data.get("how") == "at once":
                self.task_data = data
                raise ValueError("it is not taken")
            if data.get("how") == "slow":
                gevent.sleep(0.2)
            self.taken = gevent.get_hub().loop.now()
"""
GOOD = ("good", "good", "good", "slow", "same", "message")
BAD = ("no JSON", "no object", "no version", "check", "broken check", "init", "at once", "soon", "late")
SCALE = 0.3  # of all times: data is on trial for three seconds, so that a busy machine does not outlast it
KINDS = ("again", "live")
AT_REST = ("ended", "error", "stopped")


class Reloader:
    """Reloads one task again and again, and checks what comes of it."""

    def __init__(self, site, task_id, function, seed):
        self.site, self.id, self.function = site, task_id, function
        self.random = random.Random(seed)
        self.version = self.number = 1
        self.lived = {1}  # the versions that may have lived: a rollback goes back to one of them
        self.found = Counter()
        self.violations = []

    def run(self, reloads):
        with pytask.Client(self.site.url, timeout=10) as client:
            for _ in range(reloads):
                self.reload(client, self.random.choice(GOOD if self.random.random() < 0.5 else BAD))

    def reload(self, client, how):
        self.number += 1
        before = client.get(self.id)
        kept = how == "same"
        data = before.data if kept else {"version": self.number, "how": how}
        raw = {"no JSON": "{oops", "no object": "[1]"}.get(how)
        if how == "no version":
            data = {"version": "x"}
        if raw or how == "message":
            self.site.raw.hset(self.id, "data", raw or json.dumps(data))
        try:
            if how == "message":
                outcome = self.by_message(client, before)
            else:
                given = None if raw or kept else data
                outcome = client.reload(self.id, given, wait=PATIENCE, settled=how in ("late", "soon"))
        except pytask.errors.PytaskError as error:
            self.violation(how, f"{error!r}")
            return
        bad = how in BAD
        word = self.word(outcome)
        self.found[f"{how}: {word}"] += 1
        if outcome.done is bad:
            self.violation(how, f"it {word}: {outcome.refused}")
        if not before.on_trial:
            self.lived = {self.version}
        if outcome.done and not kept:
            self.version = self.number
            self.lived.add(self.version)
        elif outcome.rolled_back is not None and before.on_trial:
            # The trial may have ended just before this reload.
            back = client.get(self.id).data["version"]
            if back not in self.lived:
                self.violation(how, f"rolled back to version {back}, {self.lived} had lived")
            self.version = back
        self.look(client, how, before, outcome)

    @staticmethod
    def word(outcome):
        if outcome.done:
            return "taken in place" if outcome.in_place else "started again"
        return "rolled back" if outcome.rolled_back else "refused" if outcome.refusal else "lost"

    def by_message(self, client, before):
        """As with redis-cli: published, by hand, until it has an effect."""

        def effect():
            self.site.raw.publish(f"task-{self.id}-control", "reload")
            until_then = time.monotonic() + 2
            while time.monotonic() < until_then:
                now = client.get(self.id)
                if now.epoch > before.epoch or now.reloaded_at > before.reloaded_at:
                    return now
                time.sleep(0.02)
            return None

        now = until(effect, "a reload by a message")
        time.sleep(0.1)  # both workers have received it
        until(lambda: not client.get(self.id).control, "the request of the other worker")
        return Outcome(id=self.id, done=True, state=now.state, in_place=now.epoch == before.epoch)

    def look(self, client, how, before, outcome):
        """The task works with the version of the outcome, and so does the next run."""
        path = self.site.folder / self.id

        def works():
            version, epoch = path.read_text().split()
            task = client.get(self.id)
            return int(version) == self.version and int(epoch) == task.epoch and task.run

        try:
            until(works, lambda: f"{path.read_text()}, {client.get(self.id)}", 10)
        except AssertionError as error:
            self.violation(how, f"version {self.version} was the outcome, but {error}")
        task = client.get(self.id)
        if task.data["version"] != self.version:
            self.violation(how, f"the hash has {task.data}, and version {self.version} is in force")
        if (outcome.in_place or outcome.refusal) and how != "message" and task.epoch != before.epoch:
            self.violation(how, f"the run was replaced: epoch {before.epoch}, then {task.epoch}")
        if not outcome.done and task.raw_rejected is None:
            self.violation(how, "the rejected data is not kept")

    def violation(self, how, text):
        self.violations.append(f"{self.function} {self.id}, reload {self.number} ({how}): {text}")


class Site:
    """A server, two workers, and the tasks."""

    def __init__(self, folder, stack):
        self.folder = folder / "evidence"
        self.folder.mkdir()
        write(folder / "tasks.py", TASKS)
        server = stack.enter_context(start_server("valkey"))
        self.url = server.url
        words = ("run", "tasks.py", "--redis", server.url, "--time-scale", str(SCALE), "--name")
        self.workers = [
            stack.enter_context(
                Started(cli_tools.pytask(*words, name), folder, folder, EVIDENCE=str(self.folder))
            )
            for name in ("w1", "w2")
        ]
        self.raw = stack.enter_context(redis.Redis.from_url(server.url, decode_responses=True))
        until(lambda: self.raw.pubsub_numsub("pytask:hint")[0][1] == 2, self.output)

    def output(self):
        return "\n".join(worker.output for worker in self.workers)


def watch(site, ids, over, seen):
    """No task may come to rest."""
    with site.raw.pubsub() as listener:
        listener.psubscribe("task-*")
        while not over.is_set():
            message = listener.get_message(timeout=0.2)
            if message is None or message["type"] != "pmessage" or not message["data"].startswith("{"):
                continue
            event = json.loads(message["data"])
            if event["event"] in AT_REST and message["channel"].removeprefix("task-") in ids:
                seen.append(f"{message['channel']}: {event}")


def conduct(folder, reloads, seed, tasks=8):
    """What came of so many random reloads: counts, and the violations."""
    with ExitStack() as stack:
        site = Site(folder, stack)
        with pytask.Client(site.url, timeout=10) as client:
            made = [(function, client.start(function, {"version": 1})) for function in KINDS * (tasks // 2)]
            for _, task_id in made:
                client.wait(task_id, "RUNNING", PATIENCE)
        over, seen = threading.Event(), []
        ids = {task_id for _, task_id in made}
        watcher = threading.Thread(target=watch, args=(site, ids, over, seen))
        watcher.start()
        reloaders = [Reloader(site, i, function, f"{seed} {n}") for n, (function, i) in enumerate(made)]
        shares = [reloads // tasks + (n < reloads % tasks) for n in range(tasks)]
        threads = [
            threading.Thread(target=one.run, args=(share,))
            for one, share in zip(reloaders, shares, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        over.set()
        watcher.join()
        found = sum((one.found for one in reloaders), Counter())
        states = Counter(site.raw.hget(task_id, "state") for task_id in ids)
        violations = [text for one in reloaders for text in one.violations] + seen
        if states != {"RUNNING": tasks}:
            violations.append(f"at the end the tasks are {dict(states)}")
        if violations:
            violations.append(site.output()[-20000:])
        return found, violations


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reloads", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--tasks", type=int, default=8)
    options = parser.parse_args()
    seed = random.randrange(10**6) if options.seed is None else options.seed
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pytask-reloads-") as folder:
        found, violations = conduct(Path(folder), options.reloads, seed, options.tasks)
    for what, count in sorted(found.items()):
        print(f"{count:6} {what}")
    print(
        f"{found.total()} reloads of {options.tasks} tasks in {time.monotonic() - began:.0f} s,"
        f" {len(violations)} violations, seed {seed}"
    )
    for text in violations:
        print(text)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
