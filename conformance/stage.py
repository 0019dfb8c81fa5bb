"""The Redis server and the workers that the transcripts are played against."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import redis

from conformance.wire import NAME
from pytask.adapters.embedded import EmbeddedServer

ROOT = Path(__file__).resolve().parent.parent
READY = 30.0  # seconds from the start of a worker to its being heard
LEAVING = 30.0  # seconds until it has handed its tasks back, and a little more

# What keys begin with, and into how many partitions they are divided.
SPACES = {"plain": ("", 1), "named": ("app:", 1), "parted": ("{app}:", 4)}


class Stage:
    """A server, and a worker for each space that is asked for."""

    def __init__(self, url=None):
        self._folder = tempfile.TemporaryDirectory(prefix="conformance-", ignore_cleanup_errors=True)
        self.folder = Path(self._folder.name)
        self._server = None if url else EmbeddedServer(self.folder / "redis")
        self._url = url
        self._workers = {}
        self.redis = None

    def __enter__(self):
        try:
            if self._server:
                self._server.start()
                self._url = self._server.url
            self.redis = redis.Redis.from_url(self._url, client_name=NAME, decode_responses=True)
            self.redis.ping()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exception):
        for worker in self._workers.values():
            worker.send_signal(signal.SIGTERM)
        for worker in self._workers.values():
            ended(worker)
        if self.redis:
            self.redis.close()
        if self._server:
            self._server.stop()
        self._folder.cleanup()

    @property
    def url(self):
        return self._url

    def worker(self, space):
        """See to it that a worker of this space listens."""
        if space in self._workers:
            return
        namespace, partitions = SPACES[space]
        before = self._ears()
        with (self.folder / f"worker-{space}.log").open("ab") as log:
            self._workers[space] = worker = subprocess.Popen(
                [sys.executable, "-m", "conformance.worker", "--url", self._url, "--name", f"worker-{space}",
                 "--namespace", namespace, "--partitions", str(partitions)],
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        until = time.monotonic() + READY
        while len(self._ears() - before) < partitions or len(self._crew(namespace, partitions)) < partitions:
            if worker.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the worker does not listen:\n{self.log(space)}")
            time.sleep(0.02)

    def restart(self, space):
        """End its worker in good order, and start a new one."""
        worker = self._workers.pop(space)
        worker.send_signal(signal.SIGTERM)
        ended(worker)
        self.worker(space)

    def log(self, space):
        """What the worker of a space said."""
        with suppress(FileNotFoundError):
            return (self.folder / f"worker-{space}.log").read_text(errors="replace")
        return ""

    def _ears(self):
        return set(self.redis.pubsub_channels("*pytask:ping:*"))

    def _crew(self, namespace, partitions):
        names = [namespace] if partitions == 1 else [f"{{app:{number}}}:" for number in range(partitions)]
        return [name for name in names if self.redis.zcard(f"{name}pytask:monitors")]


def ended(process):
    """Wait for it; whatever does not end is killed."""
    try:
        process.wait(LEAVING)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def clean_environment(**more):
    """Ours, without what would lead a client to another Redis."""
    hidden = ("PYTASK_", "REDIS_URL")
    return {name: value for name, value in os.environ.items() if not name.startswith(hidden)} | more
