"""The client under test: a program that is asked by lines on its standard input."""

import json
import os
import signal
import subprocess
import threading
from collections import deque
from contextlib import suppress

PATIENCE = 15.0  # seconds for an answer that should take a few milliseconds, on a busy machine


class Failed(Exception):
    """What the client did, or what did not come of it."""


class Unsupported(Exception):
    """The client does not offer this, and says so."""


class Program:
    """One run of the client: requests and answers in turn, events in between."""

    def __init__(self, command, url, namespace, partitions, log, env):
        self._process = subprocess.Popen(
            [*command, url, namespace, str(partitions)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=env,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
        self._news = threading.Condition()
        self._answers = deque()
        self.events = []  # (task id, decoded event), in the order they came
        self.gaps = 0
        self.wrong = []  # lines that are none of the line protocol
        self._over = False
        threading.Thread(target=self._read, daemon=True).start()

    def ask(self, verb, *words):
        """The words behind `ok`."""
        try:
            self._process.stdin.write("\t".join([verb, *words]) + "\n")
            self._process.stdin.flush()
        except OSError:
            raise Failed(f"the client ended with {self._process.wait()}") from None
        if not self.wait(lambda: self._answers or self._over, PATIENCE):
            raise Failed(f"no answer to `{verb}` in {PATIENCE:g} s")
        if not self._answers:
            raise Failed(f"the client ended at `{verb}` with {self._process.wait()}")
        kind, *answer = self._answers.popleft()
        if kind == "unsupported":
            raise Unsupported
        if kind == "error":
            raise Failed(f"`{verb}`: {' '.join(answer)}")
        return answer

    def wait(self, holds, seconds):
        """The first true value of `holds()`, or the last one after so many seconds."""
        with self._news:
            return self._news.wait_for(holds, seconds)

    def close(self):
        """End it and whatever it started."""
        for end in (self._process.stdin.close, lambda: self._process.wait(2)):
            try:
                end()
            except (OSError, subprocess.TimeoutExpired):
                continue
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process.stdout.close()

    def _read(self):
        for line in self._process.stdout:
            with self._news:
                self._take(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._over = True
            self._news.notify_all()

    def _take(self, line):
        kind, *words = line.split("\t")
        if kind in ("ok", "error", "unsupported"):
            self._answers.append([kind, *map(unescaped, words)])
        elif kind == "gap" and not words:
            self.gaps += 1
        elif kind == "event" and len(words) == 2 and (event := decoded(words[1])) is not None:
            self.events.append((words[0], event))
        else:
            self.wrong.append(line)


def decoded(payload):
    """An event, or None for anything else."""
    try:
        event = json.loads(payload)
    except ValueError:
        return None
    return event if isinstance(event, dict) and set(event) >= {"event", "data"} else None


def unescaped(text):
    """The text behind `\\n`, `\\t` and `\\\\`."""
    parts = [part.replace("\\n", "\n").replace("\\t", "\t") for part in text.split("\\\\")]
    return "\\".join(parts)
