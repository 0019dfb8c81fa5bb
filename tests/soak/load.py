"""What clients do to the workers of a soak: pushes, controls, malformed input; and one who listens."""

import json
import random
import threading
import time

import redis

MALFORMED = ("no-hash", "no-function", "wrong-type", "bad-json", "bad-id")
TARGETS_OF_FAULTS = 20  # the first long tasks are left to `recreate` and `duplicates`


class Load:
    """Threads that keep the load even; `paused` holds back the controls."""

    def __init__(self, stage, options, rng):
        self.stage, self.options, self.rng = stage, options, rng
        self.longs = [f"L{number}" for number in range(options.long)]
        self.pushed = 0
        self.malformed = 0
        self.controls = []  # (word, id, seconds to its effect, at)
        self.resting = set()  # ids under a control now
        self.heard = set()  # short ids whose `ended` was heard
        self.events = 0
        self.troubles = []
        self.paused = threading.Event()
        self.ending = threading.Event()
        self.control_idle = threading.Event()
        self.control_idle.set()
        self._threads = []

    def start(self):
        for number in range(len(self.longs)):
            self.retry(lambda client, name=self.longs[number]: push(client, name, "long"))
        for work in (self._listen, self._produce, self._control):
            thread = threading.Thread(target=self._guarded, args=(work,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self):
        self.ending.set()
        for thread in self._threads[1:]:
            thread.join(30)

    def _guarded(self, work):
        try:
            work(self.stage.connect())
        except Exception as error:
            self.troubles.append(f"{work.__name__}: {error!r}")

    def retry(self, call, client=None):
        """The answer of `call(client)`, asked again while Redis is away; every call here may be repeated."""
        client = client or self.stage.redis
        while True:
            try:
                return call(client)
            except (redis.RedisError, OSError):
                if self.ending.wait(0.5 * self.options.scale):
                    raise

    def _produce(self, client):
        """Short tasks at an even rate, each with an id of its own, and now and then what nobody should."""
        begin = time.monotonic()
        period = 1 / self.options.rate
        count = 0
        while not self.ending.wait(max(0.0, begin + count * period - time.monotonic())):
            self.retry(lambda c, name=f"s{count}": push(c, name, "short"), client)
            count += 1
            self.pushed = count
            if count % int(self.options.rate * 7 * self.options.scale + 1) == 0:
                self.retry(lambda c: push_malformed(c, MALFORMED[self.malformed % len(MALFORMED)]), client)
                self.malformed += 1

    def _listen(self, client):
        scale = self.options.scale
        pubsub = None
        while True:  # to the very end: the last short tasks end after the pushing does
            try:
                if pubsub is None:
                    pubsub = client.pubsub(ignore_subscribe_messages=True)
                    pubsub.psubscribe("task-*")
                message = pubsub.get_message(timeout=0.5)
            except (redis.RedisError, OSError):
                pubsub.close()
                pubsub = None
                time.sleep(0.2 * scale)
                continue
            if message and not message["channel"].endswith("-control"):
                self._hear(message)

    def _hear(self, message):
        self.events += 1
        name = message["channel"].removeprefix("task-")
        if name.startswith("s") and json.loads(message["data"])["event"] == "ended":
            self.heard.add(name)

    def _control(self, client):
        """A long task stopped and started again, or reloaded, every few seconds of quiet."""
        while not self.ending.wait(6 * self.options.scale):
            if self.paused.is_set():
                continue
            self.control_idle.clear()
            try:
                name = self.rng.choice(self.longs[TARGETS_OF_FAULTS:])
                if self.rng.random() < 0.5:
                    self.steer(client, name, "reload", lambda now, run: now == "RUNNING" and run)
                else:
                    self.restart(client, name)
            finally:
                self.control_idle.set()

    def restart(self, client, name):
        self.resting.add(name)
        try:
            if self.steer(client, name, "stop", lambda now, _run: now == "STOPPED"):
                self.steer(client, name, "start", lambda now, _run: now in ("WAIT", "RUNNING"))
        finally:
            self.resting.discard(name)

    def steer(self, client, name, word, reached):
        """Publish a control word until it shows; whether it did.  A reload shows as another run."""
        begin = time.monotonic()
        _, old = self.retry(lambda c: c.hmget(name, "state", "run"), client)
        if word == "reload" and not old:
            return False  # not running now
        said = 0
        while not self.ending.is_set():
            if time.monotonic() - begin >= said * 15 * self.options.scale:
                self.retry(lambda c: c.publish(f"task-{name}-control", word), client)
                said += 1
            now, run = self.retry(lambda c: c.hmget(name, "state", "run"), client)
            if reached(now, run) and (word != "reload" or run != old):
                self.controls.append((word, name, time.monotonic() - begin, begin))
                return True
            self.ending.wait(0.1 * self.options.scale)
        return False

    def spread(self, until):
        """Stop and start the surplus of each worker until all have about the same number of long tasks."""
        client = self.stage.connect()
        fair = len(self.longs) / 3
        while time.monotonic() < until and not self.ending.is_set():
            owners = self.owners(client)
            surplus = [name for ids in owners.values() for name in ids[int(fair * 1.03) + 1 :]]
            if not surplus:
                break
            for name in surplus:
                self.restart(client, name)
                if time.monotonic() > until:
                    break
        sizes = {worker: len(ids) for worker, ids in self.owners(client).items()}
        client.close()
        return sizes

    def owners(self, client):
        """worker -> its long ids, those first that faults aim at."""
        pipe = client.pipeline(transaction=False)
        for name in self.longs:
            pipe.hget(name, "worker")
        owners = {}
        for name, worker in zip(self.longs, self.retry(lambda _c: pipe.execute(), client), strict=True):
            owners.setdefault(worker, []).append(name)
        return owners

    # -- faults that a client makes ------------------------------------------------------------------------

    def recreate(self):
        """DEL and HMSET and LPUSH of five running tasks, as a confused client would."""
        for name in random.Random(self.pushed).sample(self.longs[:TARGETS_OF_FAULTS], 5):
            self.retry(lambda c, name=name: (c.delete(name), push(c, name, "long")))

    def duplicates(self):
        """Five copies more of ten running tasks."""
        for name in self.longs[:10]:
            for _ in range(5):
                self.retry(lambda c, name=name: c.lpush("new-task", name))


def push(client, name, function, data="{}"):
    pipe = client.pipeline(transaction=False)
    pipe.hset(name, mapping={"function": function, "data": data})
    pipe.lpush("new-task", name)
    pipe.execute()


def push_malformed(client, kind):
    """Ids are used again, so that malformed input adds no keys."""
    match kind:
        case "no-hash":
            client.lpush("new-task", "m-none")
        case "no-function":
            client.hset("m-blank", "data", "{}")
            client.lpush("new-task", "m-blank")
        case "wrong-type":
            client.set("m-text", "no hash")
            client.lpush("new-task", "m-text")
        case "bad-json":
            push(client, "m-json", "short", "{no json")
        case "bad-id":
            client.lpush("new-task", b"\xff\x00 bad")
