"""Receives stop, start and reload messages, stores the requests, then acts on the runs of this worker."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import groupby

import attrs
import gevent

from pytask.domain.control import REASONS, Starts
from pytask.domain.errors import Refused, SharedChannels, StoreError, Unavailable
from pytask.domain.messages import Command, IdFault, read_id
from pytask.domain.ports import Feed, Store
from pytask.domain.record import Notice, Verdict
from pytask.domain.timing import Timing
from pytask.domain.wording import counted
from pytask.logger import get_logger
from pytask.runtime.log_throttle import LogThrottle
from pytask.runtime.runs import stacks
from pytask.runtime.runs.executor import Executor
from pytask.runtime.until_answered import pass_by_pass, until_answered

log = get_logger(__name__)

IDLE = 0.02  # seconds between reads of a feed that does not block


@attrs.frozen(kw_only=True)
class ControllerPorts:
    """The ports of a controller."""

    store: Store
    feed: Feed
    executor: Executor
    timing: Timing
    clock: Callable[[], float]
    log_throttle: LogThrottle
    on_hint: Callable[[str], None]  # a task of this function was parked
    request_ping: Callable[[], None]  # publish a ping at the server of the renewals
    on_deaf: Callable[[], None]  # the feed did not receive the ping
    place: str = ""  # address and namespace, for messages


class Controller:
    """One subscription for all tasks.  Every worker receives every message; the store decides who acts."""

    def __init__(self, ports: ControllerPorts) -> None:
        self._store = ports.store
        self._feed = ports.feed
        self._executor = ports.executor
        self._clock = ports.clock
        self._timing = ports.timing
        self._on_hint = ports.on_hint
        self._ended = False
        self._starts = Starts(ports.timing.slowest_heartbeat)
        self._request_ping = ports.request_ping
        self._on_deaf = ports.on_deaf
        self._asked = False  # a ping was requested but not received yet
        self._sent: float | None = None  # when that ping was published
        self._failed: StoreError | None = None  # why it could not be published
        self._next_ping = 0.0
        self._heard_at = -math.inf  # when the last ping was received
        self._place = ports.place
        self._opened = False  # the feed is open, but nothing was read yet
        self._joined = False  # it was open before: from then on this worker is no longer refused
        self._others: list[int] = []  # db numbers that share its channels, as last logged
        self.reconnects = 0
        self._log_throttle = ports.log_throttle
        self._pause = ports.timing.tick  # seconds to wait after the next failure

    def join(self) -> None:
        """Subscribe before the worker claims any task.  Raises `SharedChannels` if that is refused.

        If Redis does not answer, `run` retries with the same check.
        """
        if self._feed.database is None:
            return
        try:
            self._open()
        except StoreError as error:
            log.debug("control messages are not received yet: %s", error)

    def run(self) -> None:
        """Receive until stopped; a broken or stale connection is replaced.  Raises `SharedChannels`."""
        try:
            pass_by_pass(self._listen, self._pass_failed, lambda: self._ended)
        finally:
            self._feed.close()  # also when killed in a read: the sockets are not shared

    def _listen(self) -> None:
        if not self._opened:
            self._open()
        self._opened = False  # after any end of the reading the feed is reopened
        while not self._ended:
            self._pass()
            if self.listening:
                self._pause = self._timing.tick

    def _pass_failed(self, error: Exception) -> float:
        if isinstance(error, SharedChannels):
            raise error
        self._heard_at = -math.inf
        self.reconnects += 1
        if not isinstance(error, StoreError):
            log.error("control messages are not received, subscribing again", exc_info=error)
            return self._timing.call_timeout
        if not isinstance(error, Unavailable) or self._log_throttle.may(self._clock()):
            log.warning("control messages are not received, subscribing again: %s", error)
        pause, self._pause = self._pause, min(2 * self._pause, self._timing.call_timeout)
        return pause

    def end(self) -> None:
        """Stop after the current step."""
        self._ended = True

    @property
    def listening(self) -> bool:
        """Whether a ping recently proved that the feed is connected to the server of the renewals."""
        return self._clock() - self._heard_at <= 4 * self._timing.heartbeat

    def _open(self) -> None:
        self._feed.open()
        self._starts.listen(self._clock())
        self._expect_nothing()
        self._look_for_others()
        self._opened = True

    def _look_for_others(self) -> None:
        """Refuse to start if workers of another db number are subscribed; a running worker only warns.

        Each worker publishes its own number before it checks, so if two start at once, at least one is
        refused.
        """
        if self._feed.database is None:
            return
        try:
            others = [number for number in self._store.databases() if number != self._feed.database]
        except StoreError as error:
            if isinstance(error, Unavailable) and not self._joined:
                raise  # retried after the feed is reopened
            log.debug("the db numbers of other workers are unknown: %s", error)  # a refusal: PT139
            others = []
        if others and not self._joined:
            raise SharedChannels(f"this worker does not start. {self._shared(others)}")
        self._joined = True
        if others and others != self._others:
            log.warning("[%s] %s. Its tasks go on", SharedChannels.code, self._shared(others))
        self._others = others

    def _shared(self, others: Sequence[int]) -> str:
        return (
            f"Workers with db {', '.join(map(str, others))} of this Redis receive the same control messages"
            f" as this worker with db {self._feed.database} ({self._place}). Pub/sub ignores db numbers:"
            " a stop of a task in one deployment also stops the task with the same id in the other. Give"
            " one of them (its workers and its clients) a namespace of its own: --namespace NAME: (or"
            " $PYTASK_NAMESPACE, or namespace= in code)"
        )

    def _expect_nothing(self) -> None:
        self._next_ping = self._clock()
        self._asked, self._sent, self._failed = False, None, None

    def _pass(self) -> None:
        began = self._clock()
        notices = self._feed.read(max(IDLE, self._next_look() - began))
        overdue = self._overdue()  # before the messages are processed, which may take long
        self.handle(notices)
        self.check_ping(overdue=overdue)
        if not notices and self._clock() - began < IDLE:
            gevent.sleep(IDLE)

    def _next_look(self) -> float:
        """Seconds until `check_ping` is due, if no message arrives: at most a heartbeat."""
        now, beat = self._clock(), self._timing.heartbeat
        at = self._next_ping if not self._asked else now + beat if self._sent is None else self._sent + beat
        return min(at, now + beat)

    def _overdue(self) -> bool:
        """Whether all messages were read, but not the ping that was sent a heartbeat ago."""
        sent = self._sent
        return sent is not None and not self._feed.behind and self._clock() - sent > self._timing.heartbeat

    def check_ping(self, *, overdue: bool) -> None:
        """Publish a ping every two heartbeats on the server of the renewals, and replace a feed that misses
        it.

        A half-open subscription raises no error, and the library's health check does not detect it; a
        subscription to an old primary receives only what is published there.
        """
        if self._failed is not None:
            raise self._failed
        if overdue and self._sent is not None:
            self._on_deaf()
            raise Unavailable("the subscription does not receive the ping of its own worker")
        now = self._clock()
        if now >= self._next_ping and not self._asked:
            self._asked = True
            self._next_ping = now + 2 * self._timing.heartbeat
            self._request_ping()

    def pinged(self, error: StoreError | None) -> None:
        """Called before the ping is published, or with the error if it could not be."""
        if self._asked:
            self._sent, self._failed = self._clock(), error

    def handle(self, notices: Sequence[Notice]) -> None:
        """Process a batch of messages in order; consecutive equal commands share one call."""
        for notice in notices:
            if notice.kind == "ping":
                self._asked, self._sent = False, None
                self._heard_at = self._clock()
            elif notice.kind == "parked":
                self._on_hint(notice.task_id)
        for task_id in dict.fromkeys(notice.task_id for notice in notices if notice.kind == "stacks"):
            stacks.tell(self._executor, task_id)  # once, however many have asked
        # Ids that the queue would reject are rejected here, too: `pytask:runs` is also a hash.
        steering = ("control", "started")
        control = [n for n in notices if n.kind in steering and not isinstance(_read(n), IdFault)]
        for command, group in groupby(control, key=lambda notice: notice.command):
            ids = list(dict.fromkeys(notice.task_id for notice in group))
            if command is not None:
                self.apply(command, ids)
            else:  # started by a client: processed in order, so that stale stops precede it
                for task_id in ids:
                    self._starts.received(task_id, self._clock())

    def apply(self, command: Command, ids: Sequence[str]) -> None:
        """Store the request first, so that it survives this worker; then act on the local runs."""
        received = self._clock()
        # Before the call: waiting for Redis adds to the age of each.
        ages = [self._age(command, task_id, received) for task_id in ids]
        stop_reason = REASONS.get(command)
        for task_id, verdict in zip(ids, self._write_down(command, ids, ages, received), strict=False):
            if verdict is Verdict.REQUESTED and stop_reason is not None:
                self._executor.ask(task_id, stop_reason)
            elif verdict is Verdict.REQUESTED:
                self._executor.pauses.ask(task_id, command)
            if command is Command.START:
                self._starts.received(task_id, self._clock())  # it has been carried out by now

    def _age(self, command: Command, task_id: str, now: float) -> float:
        if command is Command.START:
            self._starts.received(task_id, now)
            # The starts of two workers within this time, a tick of the slower one, are the same message.
            return self._timing.slowest_heartbeat / 10
        return self._starts.not_received(task_id, now)

    def _write_down(
        self, command: Command, ids: Sequence[str], ages: Sequence[float], received: float
    ) -> list[Verdict]:
        until = received + self._timing.lease

        def write() -> list[Verdict]:
            waited = self._clock() - received
            return self._store.control(command, ids, [age + waited for age in ages])

        def give_up(error: StoreError) -> bool:
            # A refusal (a start while Redis is full) must not block later messages.
            if not self._ended and self._clock() <= until and not isinstance(error, Refused):
                return False
            log.error("could not store %s for %s: %s", command, counted(len(ids), "task"), error)
            return True

        return until_answered(write, give_up, self._timing.call_timeout / 3) or []


def _read(notice: Notice) -> str | IdFault:
    return read_id(notice.task_id.encode(errors="surrogatepass"))
