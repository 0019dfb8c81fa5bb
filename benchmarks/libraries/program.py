"""The tasks of the measured worker; the library and the servers are set in the environment."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from contextlib import nullcontext, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import gevent

import pytask
from benchmarks.libraries.cases import MISSING, Call, Peers
from benchmarks.libraries.registry import ROWS
from pytask import Task

CASE = ROWS[os.environ["LIBRARY"]]
AT = Peers(json.loads(os.environ["PEERS"]), Path(os.environ["FOLDER"]))
TICK = 0.005  # seconds

if CASE.coroutine:
    with suppress(ImportError):  # as a program does; aiogram takes seconds
        import_module(CASE.packages[0])
_made: list[Call] = [CASE.make(AT)] if CASE.made == "import" and not CASE.coroutine else []
_gaps = [0.0]
_returned: dict[str, tuple[float, float, bool]] = {}
_answers: Counter[str] = Counter()


def use(seconds: float, word: str) -> Any:
    """One call of the library."""
    if not _made:
        with pytask.shared() if CASE.made == "shared" else nullcontext():
            _made.append(CASE.make(AT))
    return _made[0](seconds, word)


async def awaited(seconds: float, word: str) -> Any:
    """The same, for a library of asyncio."""
    if not _made:
        with pytask.shared():
            _made.append(CASE.make(AT))
    return await _made[0](seconds, word)


class Wait(Task):
    """Calls it once; outputs the times of begin and end, and whether the reply is right."""

    class Config:
        NAME = "wait"

    def start(self) -> tuple[float, float, bool]:
        word = self.id.replace("-", "_")
        began = time.monotonic()
        got = use(self.task_data["seconds"], word)
        return self.returned(began, got is None or got == word)

    def returned(self, began: float, right: bool) -> tuple[float, float, bool]:
        _returned[self.id] = found = began, time.monotonic(), right
        return found


class AwaitedWait(Wait):
    """The same as a coroutine."""

    async def start(self) -> tuple[float, float, bool]:
        word = self.id.replace("-", "_")
        began = time.monotonic()
        return self.returned(began, await awaited(self.task_data["seconds"], word) == word)


class Returned(Task):
    """The result of `wait`, also if a thread keeps the task."""

    class Config:
        NAME = "returned"

    def start(self) -> dict[str, tuple[float, float, bool]]:
        return _returned


class Tick(Task):
    """Records how long the loop was blocked."""

    class Config:
        NAME = "tick"

    def start(self) -> None:
        last = time.monotonic()
        while True:
            gevent.sleep(TICK)
            now = time.monotonic()
            _gaps[0] = max(_gaps[0], now - last - TICK)
            last = now


class Gap(Task):
    """The longest block since the last call, in seconds."""

    class Config:
        NAME = "gap"

    def start(self) -> float:
        gap, _gaps[0] = _gaps[0], 0.0
        return gap


class Ask(Task):
    """Calls it repeatedly until stopped."""

    class Config:
        NAME = "ask"

    def start(self) -> None:
        number = 0
        while True:
            number += 1
            word = f"{self.id}_{number}".replace("-", "_")
            try:
                got = use(0.01, word)
            except Exception as error:
                self.failed(error)
                gevent.sleep(0.01)
            else:
                self.answered(got, word)
            gevent.sleep(0)

    def failed(self, error: Exception) -> None:
        _answers["errors"] += 1
        _answers[f"{type(error).__name__}: {error}"[:80]] += 1

    def answered(self, got: Any, word: str) -> None:
        _answers["errors" if got == MISSING else "right" if got in (None, word) else "wrong"] += 1


class AwaitedAsk(Ask):
    """The same as a coroutine."""

    async def start(self) -> None:
        number = 0
        while True:
            number += 1
            word = f"{self.id}_{number}".replace("-", "_")
            try:
                got = await awaited(0.01, word)
            except Exception as error:
                self.failed(error)
                await self.sleep(0.01)
            else:
                self.answered(got, word)
            await self.sleep(0)


if CASE.coroutine:
    Wait, Ask = AwaitedWait, AwaitedAsk  # type: ignore[misc]  # of two with one name
del AwaitedWait, AwaitedAsk


class Answers(Task):
    """The replies to `ask`."""

    class Config:
        NAME = "answers"

    def start(self) -> dict[str, int]:
        return dict(_answers)
