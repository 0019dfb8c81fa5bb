"""The tasks that the benchmarks run; a target for `pytask run`."""

import asyncio
import logging
import time

import gevent

from benchmarks.peers.mark import mark
from pytask import Task

log = logging.getLogger("benchmarks")


class Noop(Task):
    """Ends at once."""

    class Config:
        NAME = "noop"

    def start(self):
        mark((self.task_data or {}).get("sent", 0))


class Sleeper(Task):
    """Runs until it is stopped."""

    class Config:
        NAME = "sleeper"

    def start(self):
        while True:
            gevent.sleep(3600)


class AioNoop(Task):
    """As Noop, as a coroutine."""

    class Config:
        NAME = "aio-noop"

    async def start(self):
        mark((self.task_data or {}).get("sent", 0))


class AioSleeper(Task):
    """As Sleeper, as a coroutine."""

    class Config:
        NAME = "aio-sleeper"

    async def start(self):
        while True:  # noqa: ASYNC110 - as most tasks do
            await asyncio.sleep(3600)


class Gated(Task):
    """Stands at its gate while it is paused, and says when it goes on."""

    class Config:
        NAME = "gated"

    def start(self):
        while True:
            before = time.monotonic()
            self.gate()
            if time.monotonic() - before > 0.001:
                self.emit("passed")
            gevent.sleep(0.5)


class Saver(Task):
    """Saves a position with a pause after each, until it is stopped."""

    class Config:
        NAME = "saver"

    def start(self):
        number, pause = self.saved or 0, self.task_data["pause"]
        while True:
            number += 1
            self.save({"position": number, "page": "https://example.org/feed"})
            gevent.sleep(pause)


class Chatter(Task):
    """Emits events with a pause after each."""

    class Config:
        NAME = "chatter"

    def start(self):
        what, times, pause = (self.task_data.get(name, 0) for name in ("what", "times", "pause"))
        for number in range(times):
            if what == "log":
                log.info("page %d of %d is read", number, times)
            elif what == "progress":
                self.progress(number, times, "pages")
            if pause:
                gevent.sleep(pause)
