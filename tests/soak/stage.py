"""The servers, proxies and worker processes of a soak, and the faults that befall them."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import redis

from tests.soak.schedule import WORKERS
from tests.support import servers
from tests.support.proxy import ROOT, Proxy

PROGRAM = Path(__file__).with_name("worker_program.py")
RESTART_AFTER = 5  # seconds at scale 1, as a supervisor would
EXPECTED = {  # exit codes of a process that its fault may end
    "kill": (-signal.SIGKILL,),
    "sigterm": (0,),
    "stop-100": (-signal.SIGKILL,),
    "blackhole-80": (-signal.SIGKILL, 70),
}


class Stage:
    """One Valkey, and three workers, each behind its own proxy; `close` ends them all."""

    def __init__(self, folder, options):
        self.folder, self.options = folder, options
        self.server = servers.start_server("valkey", "--appendfsync", "always", appendonly=True)
        self.redis = self.connect()
        self.proxies, self.workers = {}, {}
        self.exits = []  # (name, pid, code, the fault's kind or "")
        self.excused = {}  # pid -> kind of the fault that may end it
        self._lock = threading.RLock()
        self._down_since = {}
        self.closing = False
        try:
            self.proxies = {name: Proxy(self.server.port) for name in WORKERS}
        except BaseException:
            self.close()
            raise

    def connect(self, **settings):
        settings = {"decode_responses": True, "socket_timeout": 5, "client_name": "soak"} | settings
        return redis.Redis(self.server.host, self.server.port, **settings)

    def start(self, name):
        options = self.options
        words = {
            "url": self.proxies[name].url,
            "name": name,
            "evidence": self.folder / "evidence",
            "gauge": self.folder / "gauge",
            "max-tasks": options.max_tasks,
            "scale": options.scale,
            "sample": options.sample,
            "keep": options.keep,
        }
        arguments = [str(word) for key, value in words.items() for word in (f"--{key}", value)]
        with (self.folder / f"{name}.log").open("ab") as output:
            self.workers[name] = subprocess.Popen(
                [sys.executable, str(PROGRAM), *arguments],
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def supervise(self):
        """Start again whoever has been down for a while."""
        with self._lock:
            for name, process in list(self.workers.items()):
                if self.closing or process.poll() is None:
                    continue
                if name not in self._down_since:
                    self._down_since[name] = time.monotonic()
                    kind = self.excused.get(process.pid, "")
                    self.exits.append((name, process.pid, process.returncode, kind))
                elif time.monotonic() - self._down_since[name] > RESTART_AFTER * self.options.scale:
                    del self._down_since[name]
                    self.start(name)

    def unexpected_exits(self):
        return [exit_ for exit_ in self.exits if exit_[2] not in EXPECTED.get(exit_[3], ())]

    def pid(self, name):
        return self.workers[name].pid

    # -- faults: each returns what ends it ----------------------------------------------------------------

    def begin(self, fault):
        """Begin a fault; returns a function that ends it."""
        if fault.target:
            self.excused[self.pid(fault.target)] = fault.kind
        if fault.kind == "redis-kill":
            self.server.kill()
            return self.server.start
        if fault.kind in REDIS:
            return REDIS[fault.kind](self, fault) or nothing
        if fault.kind in SIGNALS:
            process = self.workers[fault.target]
            first, last = SIGNALS[fault.kind]
            process.send_signal(first)
            return (lambda: process.send_signal(last)) if last else nothing
        proxy = self.proxies[fault.target]
        LINKS[fault.kind](proxy, self.options.scale)
        return proxy.pass_

    def _cut_pubsub(self, _fault):
        for client in self.redis.client_list():
            if client["name"] == "pytask-feed" and int(client["psub"]):
                self.redis.client_kill_filter(_id=client["id"])

    def close(self):
        """End all processes in any state."""
        with self._lock:
            self.closing = True
        for process in self.workers.values():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        for process in self.workers.values():
            process.wait()
        for proxy in self.proxies.values():
            proxy.close()
        self.server.close()


def nothing():
    pass


SIGNALS = {
    "kill": (signal.SIGKILL, None),
    "sigterm": (signal.SIGTERM, None),
    "stop-20": (signal.SIGSTOP, signal.SIGCONT),
    "stop-100": (signal.SIGSTOP, signal.SIGCONT),
}
LINKS = {
    "blackhole-30": lambda proxy, _scale: proxy.blackhole(),
    "blackhole-80": lambda proxy, _scale: proxy.blackhole(),
    "cut": lambda proxy, _scale: proxy.cut(),
    "lost-replies": lambda proxy, _scale: proxy.drop_replies(),
    "slow": lambda proxy, scale: proxy.delay(0.2 * scale, scale),
}


def _freeze(stage, _fault):
    stage.server.freeze()
    return stage.server.thaw


def _pause(stage, fault):
    stage.redis.execute_command("CLIENT", "PAUSE", int(fault.lasts * 1000), "WRITE")


REDIS = {
    "redis-stop": _freeze,
    "pause-write": _pause,
    "script-flush": lambda stage, _fault: stage.redis.script_flush() and None,
    "pubsub-cut": Stage._cut_pubsub,
}
