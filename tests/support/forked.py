"""Starts programs of the tests as forks of a process that has imported them: in a tenth of the time.

A worker of a test remains a process of its own, in a session of its own, with its own environment and log,
which lives and dies as if it had been started by itself; only its imports are those of the fork server.  What
a user starts, `pytask` and the examples, is started as a user does.
"""

import atexit
import json
import math
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
READ_AT_START = ("GEVENT", "PYTHON")  # what the names of variables begin with that only a new process reads


def start_program(module, words, *, log, env, prefix=()):
    """A process that runs `main()` of a module: a fork where the system can do that, and without a `prefix`.

    The prefix is a command that is to run it, such as one that makes a PID namespace.
    """
    if not prefix and has_pidfds():
        return Forked(module, words, log=log, env=env)
    with log.open("ab") as output:
        return subprocess.Popen(
            [*prefix, sys.executable, "-m", module, *words],
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def has_pidfds():
    """Whether a descriptor can report the end of a process: not on macOS, nor in every sandbox."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


class Forked:
    """A process that runs `main()` of a module; what tests use of `subprocess.Popen`."""

    def __init__(self, module, words, *, log, env):
        self.returncode = None
        self._args = [module, *words]
        self._lock = threading.Lock()  # of the one read of the exit code
        self._answers, theirs = os.pipe()
        try:
            with log.open("ab") as output:
                server = server_of(module, env)
                server.ask({"words": words, "env": env}, [output.fileno(), theirs])
        finally:
            os.close(theirs)
        self.pid = self._read()
        if self.pid is None:
            os.close(self._answers)
            raise RuntimeError(f"the fork server of {module} ended: {server.errors()}")

    def _read(self):
        """The next number of the server, once it is there; None: the server has ended."""
        self._is_readable(None)
        number = os.read(self._answers, 4)
        return int.from_bytes(number, "big", signed=True) if number else None

    def _is_readable(self, milliseconds):
        poll = select.poll()  # under gevent's patch, it lets other greenlets run
        poll.register(self._answers, select.POLLIN)
        return bool(poll.poll(milliseconds))

    def poll(self):
        """The exit code, or None while it lives."""
        with self._lock:
            if self.returncode is None and self._is_readable(0):
                self.returncode = self._read()
                if self.returncode is None:
                    raise RuntimeError(
                        f"the fork server of {self._args[0]} ended before its process {self.pid}"
                    )
                os.close(self._answers)
        return self.returncode

    def wait(self, timeout=None):
        """The exit code; `subprocess.TimeoutExpired` after `timeout` seconds."""
        until = time.monotonic() + (math.inf if timeout is None else timeout)
        while self.poll() is None:
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired(self._args, timeout)
            time.sleep(0.01)
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has ended since
                os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def terminate(self):
        self.send_signal(signal.SIGTERM)


class ForkServer:
    """The process that has imported one module; it ends with this one."""

    def __init__(self, module, env):
        self._control, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `end`
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.fork_server", module],
                cwd=ROOT,
                env=env,
                stdin=theirs,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                start_new_session=True,
            )
        atexit.register(self.end)

    def ask(self, request, fds):
        """Have a process started; the number of it, and later its exit code, are written to the last fd."""
        with suppress(BrokenPipeError):  # it has ended: so will the pipe, and the reader says why
            socket.send_fds(self._control, [json.dumps(request).encode()], fds)

    def errors(self):
        """What it wrote to standard error."""
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")

    def end(self):
        """It ends as it sees the closed socket; its processes live on, as those of any parent."""
        self._control.close()
        self.process.wait()
        self._errors.close()


_servers = {}  # (module, what only a new process reads of the environment) -> the server
_starting = threading.Lock()


def server_of(module, env):
    """The server for this module and environment; the first call starts it."""
    key = module, tuple(sorted(item for item in env.items() if item[0].startswith(READ_AT_START)))
    with _starting:
        if key not in _servers:
            _servers[key] = ForkServer(module, env)
        return _servers[key]
