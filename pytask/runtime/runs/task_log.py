"""Buffers log lines and progress of tasks on their way to Redis.

Logging never blocks: a task appends to a buffer, and the committer sends its content in batches.  If Redis is
slow, unreachable or full, the oldest lines are dropped; readers detect it by the line numbers.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import msgspec
from gevent.event import Event as Flag

from pytask.domain.errors import StoreError, Unavailable
from pytask.domain.ports import Store
from pytask.domain.record import Notes, RunRef, Verdict
from pytask.domain.secrets import hide
from pytask.domain.task_log import NAME_MOST, PROGRESS, TEXT_MOST, amounts, shortened
from pytask.logger import get_logger
from pytask.runtime.runs.refusals import LARGE, Refusals

log = get_logger(__name__)

LINGER = 0.1  # seconds that a line may wait for more lines
MANY = 500  # lines per call; this many do not wait
CALL_BYTES = 256 * 1024  # approximate size of one call
LINES_MOST = 10_000  # lines that may wait for Redis
BYTES_MOST = 8 * 1024 * 1024
REPORT_EVERY = 60.0  # seconds between two warnings
OUTPUT = {"stdout": "info", "stderr": "warning"}  # streams of a task and the level of their lines

_encode = msgspec.json.Encoder().encode
_traces = logging.Formatter()


class Noter(Protocol):
    """The part of a run that its log needs."""

    ref: RunRef
    lines: int  # number of its log lines so far
    hidden: tuple[str, ...]  # secret values that are masked in its lines

    @property
    def epoch(self) -> int:
        """Increases with every run of this id."""


class Journal:
    """The pending log lines and progress of a partition's runs, limited in lines and in bytes."""

    def __init__(self, *, lines: int = 0, keep: int = 1, wall: Callable[[], float] = time.time) -> None:
        self._ring = lines  # stored per task; 0: none are sent
        self._keep = keep  # retention in seconds
        self._wall = wall
        self._lines: deque[tuple[str, str, bytes]] = deque()  # id, run, line: oldest first
        self._bytes = 0
        self._progress: dict[str, tuple[Noter, float, dict[str, Any]]] = {}  # the newest, by run
        self._sent: deque[list[Notes]] = deque()  # calls without an answer, repeated unchanged
        self._call_bytes = CALL_BYTES  # reduced after a call that Redis refused
        self._refusals = Refusals()
        self.unfinished: dict[tuple[str, str], str] = {}  # lines of output without an end, by run and stream
        self.dropped = 0  # lines, since the start
        self._reported = (0, 0.0)  # how many of them were logged, and when
        self.news = Flag()  # set when lines wait to be sent

    def __len__(self) -> int:
        return len(self._lines) + len(self._progress) + len(self._sent)

    @property
    def lingers(self) -> bool:
        """Whether the waiting lines may wait for more lines."""
        return 0 < len(self._lines) + len(self._progress) < MANY and not self._sent

    # -- in the greenlets of runs: must not switch --------------------------------------------------

    def log(self, run: Noter, record: logging.LogRecord) -> None:
        """One log line of a run, formatted at once."""
        if not self._ring:
            return
        text = record.getMessage()
        if record.exc_info:
            text = f"{text}\n{_traces.formatException(record.exc_info)}"
        if record.stack_info:
            text = f"{text}\n{record.stack_info}"
        self._append(
            run, record.created, record.levelname.lower(), record.name[:NAME_MOST], _shown(run, text)
        )

    def output(self, run: Noter, stream: str, text: str) -> None:
        """Text that a run writes to a stream: lines are added when they are complete or long."""
        if not self._ring:
            return
        *lines, rest = (self.unfinished.pop((run.ref.run, stream), "") + text).split("\n")
        if len(rest) > TEXT_MOST:
            lines, rest = [*lines, rest], ""
        if rest:
            self.unfinished[run.ref.run, stream] = rest
        for line in lines:
            self._print(run, stream, line)

    def finish(self, run: Noter) -> None:
        """A run has ended."""
        for stream in OUTPUT:
            self._print(run, stream, self.unfinished.pop((run.ref.run, stream), ""))

    def _print(self, run: Noter, stream: str, line: str) -> None:
        shown = line.rstrip("\r").rpartition("\r")[2]  # a progress bar overwrites itself
        if shown.strip():
            self._append(run, self._wall(), OUTPUT[stream], stream, _shown(run, shown))

    def progress(self, run: Noter, progress: dict[str, Any]) -> None:
        """The progress of a run, replacing a report that was not sent yet."""
        first = not self._lines and not self._progress
        self._progress[run.ref.run] = (run, self._wall(), progress)
        if first:
            self.news.set()

    def _append(self, run: Noter, at: float, level: str, logger: str, text: str, **more: Any) -> None:
        run.lines += 1
        line = {"n": run.lines, "at": round(at, 3), "level": level, "logger": logger, "text": text, **more}
        try:
            encoded = _encode(line | {"epoch": run.epoch})
        except UnicodeEncodeError:  # half characters
            whole = {name: line[name].encode(errors="replace").decode() for name in ("logger", "text")}
            encoded = _encode(line | whole | {"epoch": run.epoch})
        first = not self._lines and not self._progress
        self._lines.append((run.ref.id, run.ref.run, encoded))
        self._bytes += len(encoded)
        while len(self._lines) > LINES_MOST or self._bytes > BYTES_MOST:
            self._bytes -= len(self._lines.popleft()[2])
            self.dropped += 1
        if first or len(self._lines) == MANY:
            self.news.set()

    # -- in the committer's greenlet -------------------------------------------------------------------

    def send(self, store: Store) -> None:
        """Send the waiting lines.

        Raises :class:`Unavailable` without an answer; the same call is then repeated.  Refused lines are
        dropped, because lines must not delay the end of a task.
        """
        while self._sent:
            self._send_first(store)
        found = self._take_progress()
        left = len(self._lines)
        while (left > 0 and self._lines) or found:
            before = len(self._lines)
            self._sent.append(self._next_batch(found))
            left -= before - len(self._lines)
            found = {}
            self._send_first(store)
        self._report_dropped()

    def refused(self, error: StoreError, renewed_at: float, now: float) -> None:
        """No answer: a refused call is split into small calls; a refused small call is dropped."""
        size = sum(map(_weight, self._sent[0])) if self._sent else 0
        if not self._refusals.refused(error, renewed_at, now, size=size, alone=size <= LARGE):
            return
        batch = self._sent.popleft()
        if size <= LARGE:
            self._lose(batch, error)
            return
        log.warning("Redis refuses %d bytes of task logs, sending them in small calls: %s", size, error)
        self._call_bytes = LARGE // 2
        self._sent.extendleft(reversed(_small_calls(batch, LARGE // 2)))

    def _send_first(self, store: Store) -> None:
        batch = self._sent[0]
        try:
            verdicts = store.note(batch, self._ring, self._keep)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not hold up what tasks write
            self._lose(batch, error)
        else:
            self._refusals.taken(lambda: sum(map(_weight, batch)))
            broken = [n for n, said in zip(batch, verdicts, strict=True) if said is Verdict.BADTYPE]
            self._lose(broken, "the ring's key holds another type")
        self._sent.popleft()

    def _take_progress(self) -> dict[tuple[str, str], Notes]:
        """The newest progress of each run, ordered after the earlier lines of its run."""
        taken, self._progress = self._progress, {}
        found = {}
        for run, at, progress in taken.values():
            if self._ring:
                self._append(run, at, PROGRESS, "", amounts(progress), **progress)
            field = _encode({**progress, "at": int(at), "epoch": run.epoch})
            event = _encode({"event": PROGRESS, "data": progress})
            ref = run.ref
            found[ref.id, ref.run] = Notes(ref.id, ref.run, progress=field, event=event)
        return found

    def _next_batch(self, found: dict[tuple[str, str], Notes]) -> list[Notes]:
        lines: dict[tuple[str, str], list[bytes]] = {ref: [] for ref in found}
        size = count = 0
        while self._lines and count < MANY and size < self._call_bytes:
            task_id, run, line = self._lines.popleft()
            lines.setdefault((task_id, run), []).append(line)
            size += len(line)
            count += 1
        self._bytes -= size
        batch = []
        for ref, kept in lines.items():
            report = found.get(ref)
            newest = tuple(kept[-self._ring :])
            batch.append(
                Notes(*ref, newest, report.progress, report.event)
                if report is not None
                else Notes(*ref, newest)
            )
        return batch

    def _lose(self, batch: list[Notes], why: object) -> None:
        if batch:
            self.dropped += sum(len(notes.lines) for notes in batch)
            log.debug("dropped log lines of task %s (and of %d others): %s", batch[0].id, len(batch) - 1, why)

    def _report_dropped(self) -> None:
        reported, at = self._reported
        now = self._wall()
        if self.dropped > reported and not 0 <= now - at < REPORT_EVERY:
            self._reported = (self.dropped, now)
            log.warning(
                "dropped %d lines of task logs, oldest first: Redis does not accept them, or not as"
                    " fast as they are logged (see the setting task_logs)", self.dropped - reported,
            )  # fmt: skip


def _shown(run: Noter, text: str) -> str:
    return shortened(hide(text, run.hidden))


def _weight(notes: Notes) -> int:
    return sum(map(len, notes.lines)) + len(notes.progress) + len(notes.event)


def _small_calls(batch: list[Notes], most: int) -> list[list[Notes]]:
    """Split into calls of about `most` bytes; lines of one run stay in order."""
    calls: list[list[Notes]] = []
    size = 0
    for notes in batch:
        singles = [Notes(notes.id, notes.run, (line,)) for line in notes.lines]
        if notes.progress:
            singles.append(Notes(notes.id, notes.run, (), notes.progress, notes.event))
        for single in singles:
            if not calls or size + _weight(single) > most:
                calls.append([])
                size = 0
            calls[-1].append(single)
            size += _weight(single)
    return calls
