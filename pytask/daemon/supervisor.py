"""`pytask run TARGET --processes N`: N worker processes under a parent that keeps them running.

The parent is not patched by gevent and imports neither the target nor redis; it only waits.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import subprocess
import time
from types import FrameType
from typing import Any

from pytask.daemon.child import Command, Slot, how_it_ended
from pytask.daemon.dead_children import DeadChildren
from pytask.daemon.rolling_restart import RollingRestart
from pytask.daemon.supervisor_health import SupervisorHealth
from pytask.domain.wording import counted
from pytask.logger import get_logger

log = get_logger(__name__)

FIRST_DELAY, LAST_DELAY = 0.5, 30.0  # seconds; the first restart comes at once
STOP_LIMIT = (
    120.0  # seconds from the stop request, or the end of the drain, to SIGKILL: longer than the kernel timer
)
LEAVE = 25.0  # seconds for one that has lost its line: a worker has ended by then (`Timing.shutdown`)
DRAINING = " after their drain time; another signal releases them at once"
HOPELESS = (2, 78)  # exit codes of a bad target, flag or setting: a restart would not help
STUCK = 70
POLITE = (signal.SIGTSTP, signal.SIGCONT, signal.SIGUSR1)  # passed on to the children


def restart_delay(young_deaths: int) -> float:
    """Seconds until the next start, by consecutive early deaths: 0, 0.5, 1, 2 ... 30."""
    return 0.0 if young_deaths <= 1 else min(FIRST_DELAY * 2.0 ** min(young_deaths - 2, 10), LAST_DELAY)


class Supervisor:
    """Waits for signals, deaths and messages of the children; each `turn` processes all of them."""

    def __init__(
        self, command: Command, slots: list[Slot], health: SupervisorHealth, restart: RollingRestart
    ) -> None:
        self._command = command
        self.slots = slots
        self._health = health
        self._restart = restart
        self.dead = DeadChildren()
        self._hangup = False
        self._quiet = False
        self._polite: list[int] = []  # signals to pass on
        self._signals = 0
        self._stopping: float | None = None
        self._drain = 0.0  # the drain time in seconds, as reported by the children
        self._hurried = False  # whether the drain was ended
        self._code = 0
        self._had_terminal = os.isatty(0)
        self._wake: tuple[socket.socket, socket.socket] = socket.socketpair()
        for end in self._wake:
            end.settimeout(0)

    # -- lifecycle -----------------------------------------------------------------------------------------

    def run(self) -> int:
        """Run until a signal and the end of all children; returns the exit code."""
        handled = [signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, *POLITE]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # otherwise it is ignored by `nohup`
            handled.append(signal.SIGHUP)
        before = {number: signal.signal(number, self._signalled) for number in handled}
        old = signal.set_wakeup_fd(self._wake[1].fileno(), warn_on_full_buffer=False)
        try:
            while self._stopping is None or any(slot.process for slot in self.slots):
                self.turn()
            return self._code
        finally:
            signal.set_wakeup_fd(old)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._close()

    def turn(self) -> None:
        """Start due children, wait, read messages, reap."""
        now = time.monotonic()
        if self._stopping is None:
            self._start_due(now)
        else:
            self._press(now, self._stopping)
        self._end_deaf(now)
        self.dead.entrust(self.slots, now)
        self._pass_on()
        self._roll()
        self._health.turn(self._children(now))
        self._measure()
        self._wait(now)
        self._reap()
        if self._signals and self._stopping is None:
            children = counted(self._living, "child releases its", "children release their")
            self.stop()
            log.info("signal received: %s tasks%s", children, (self._drain and DRAINING) or "")

    def stop(self, code: int = 0) -> None:
        """Request all children to exit, over the line, as a service manager may also send SIGTERM."""
        self._code = self._code or code
        self._stopping = self._stopping or time.monotonic()
        self._drain = max(slot.drain for slot in self.slots)
        self._restart.end()
        self._health.leave(self._drain)
        self._tell_all("stop")

    def _press(self, now: float, since: float) -> None:
        """During the shutdown of the children: handle further signals and the timeout."""
        if now - since > STOP_LIMIT + self._drain or self._signals > (2 if self._drain else 1):
            self._kill()
        elif self._signals > 1 and not self._hurried:
            self._hurried = True
            log.info("signal received: the children release the remaining tasks")
            self._tell_all("hurry")

    def _tell_all(self, word: str) -> None:
        for slot in self.slots:
            slot.tell(word)

    def _kill(self) -> None:
        for slot in self.slots:
            if slot.process is not None and slot.process.poll() is None:
                log.warning("killing child %d (pid %d)", slot.number, slot.process.pid)
                slot.process.kill()
                self._code = self._code or 1

    def _end_deaf(self, now: float) -> None:
        """Kill what is no worker any more: one that has lost its line ends, so a task has executed another
        program in its place, which has neither its tasks nor its kernel timer."""
        for slot in self.slots:
            since = slot.deaf_since
            if slot.process is None or since is None or now <= self._end_of_deaf(since, slot):
                continue
            if slot.process.poll() is None:
                log.error(
                    "child %d (pid %d) closed its line to the supervisor %.0f s ago and has not ended:"
                        " killing it. Did a task call os.exec...()? Use self.subprocess()",
                    slot.number, slot.process.pid, now - since,
                )  # fmt: skip
                slot.process.kill()
            slot.deaf_since = now  # until it is dead

    def _end_of_deaf(self, since: float, slot: Slot) -> float:
        """When one that has lost its line is killed."""
        if self._stopping is None:
            return since + STOP_LIMIT + slot.drain
        return max(since, self._stopping) + LEAVE + slot.drain

    def _close(self) -> None:
        for slot in self.slots:
            if slot.line is not None:
                slot.line.close()  # ends a remaining child
        for end in self._wake:
            end.close()
        self._health.close()

    @property
    def _living(self) -> int:
        return sum(slot.process is not None for slot in self.slots)

    def _children(self, now: float) -> list[tuple[dict[str, Any] | None, float]]:
        return [(slot.said, now - slot.said_at) for slot in self.slots]

    def _measure(self) -> None:
        self._health.metrics.note([slot.figures for slot in self.slots])
        for slot in self.slots:
            self._health.metrics.serve((slot.said or {}).get("metrics"))

    # -- signals --------------------------------------------------------------------------------------

    def _signalled(self, number: int, _frame: FrameType | None) -> None:
        if number in POLITE:
            self._polite.append(number)
        elif number == signal.SIGHUP:
            self._hangup = True
        elif number != signal.SIGCHLD:
            self._signals += 1

    def _pass_on(self) -> None:
        """Forward signals; quiet and resume as messages, which also reach a starting child."""
        while self._polite:
            number = self._polite.pop(0)
            if number == signal.SIGUSR1:
                for slot in self.slots:
                    # A child that has not reported yet has no handler, and the signal would end it.
                    if slot.process is not None and slot.said is not None:
                        slot.process.send_signal(number)
                continue
            self._quiet = number == signal.SIGTSTP
            log.info(
                "signal received: the children %s",
                "take no more tasks" if self._quiet else "take tasks again",
            )
            self._tell_all("quiet" if self._quiet else "resume")

    def _roll(self) -> None:
        if self._hangup and self._stopping is None and self._restart.idle:
            self._hangup = False
            if not os.isatty(0) and self._had_terminal:
                self.stop()  # the terminal was closed
                return
            self._restart.begin()
        self._restart.turn()

    # -- children -------------------------------------------------------------------------------------

    def _start_due(self, now: float) -> None:
        for slot in self.slots:
            if slot.process is None and slot.due <= now:
                self._start(slot)

    def _start(self, slot: Slot) -> None:
        try:
            slot.start(self._command)
        except OSError as error:
            slot.young_deaths += 1
            slot.due = time.monotonic() + max(FIRST_DELAY, restart_delay(slot.young_deaths))
            log.error("child %d cannot be started: %s; retrying", slot.number, error)
            return
        if self._quiet:
            slot.tell("quiet")
        if slot.process is not None:
            log.info("child %d started, pid %d", slot.number, slot.process.pid)

    def _reap(self) -> None:
        for slot in self.slots:
            if slot.process is not None and slot.process.poll() is not None:
                self._dead(slot, slot.process)

    def _dead(self, slot: Slot, process: subprocess.Popen[bytes]) -> None:
        now = time.monotonic()
        code = process.returncode
        self._hear(slot)
        self._measure()
        self._health.metrics.keep()  # what it has counted, before it is forgotten
        how = how_it_ended(slot, code, now)
        if code == -signal.SIGTERM and slot.said is None and self._stopping is not None:
            code = 0  # a service manager tells all processes to stop; this one had no handler and no task yet
        slot.empty()
        # Exit code 0 alone proves nothing: a task may have called `os._exit(0)`.
        if code != 0 or not slot.left:
            self.dead.add(slot.prefix, f"child {slot.number} (pid {process.pid})", now)
        if self._stopping is not None:
            log.log(logging.WARNING if code else logging.INFO, "child %d %s", slot.number, how)
            self._code = self._code or (STUCK if code == STUCK else int(code != 0))
        elif code == 0 and slot.left and self._restart.asked(process):
            slot.young_deaths, slot.due = 0, now
            log.info("child %d (pid %d) has handed its tasks back", slot.number, process.pid)
        elif code not in HOPELESS or not slot.died_young(now) or not self._hopeless(slot, code, how, now):
            self._start_later(slot, process.pid, how, now)

    def _hopeless(self, slot: Slot, code: int, how: str, now: float) -> bool:
        """Handle a child that cannot run its code; False: it is restarted, because other children run."""
        if self._restart.replacing:
            log.error(
                "child %d %s: the new code or its settings cannot run. The remaining children keep running"
                    " the old code; retrying in %g s, and at the next SIGHUP", slot.number, how, LAST_DELAY,
            )  # fmt: skip
            self._restart.give_up()
            slot.due = now + LAST_DELAY
            return True
        if any(other.ready for other in self.slots):
            return False
        log.error("child %d %s: a restart would not help, stopping all children", slot.number, how)
        self.dead.forget(slot.prefix)
        self.stop(code)
        return True

    def _start_later(self, slot: Slot, pid: int, how: str, now: float) -> None:
        lived = now - slot.began
        slot.young_deaths = slot.young_deaths + 1 if slot.died_young(now) else 1
        slot.due = now + restart_delay(slot.young_deaths)
        log.warning(
            "child %d (pid %d, up for %.1f s) %s; restarting in %.1f s",
            slot.number, pid, lived, how, slot.due - now,
        )  # fmt: skip

    def _hear(self, slot: Slot) -> None:
        for words in slot.read_lines():
            self.dead.receive(words)

    # -- waiting --------------------------------------------------------------------------------------

    def _wait(self, now: float) -> None:
        times = [slot.due for slot in self.slots if slot.process is None and self._stopping is None]
        lines = {slot.line: slot for slot in self.slots if slot.line is not None and not slot.silent}
        times += self.dead.due()
        times += [self._end_of_deaf(one.deaf_since, one) + 0.1 for one in self.slots if one.deaf_since]
        if self._stopping is not None or self._restart.checking:
            times.append(now + 1.0)
        if self._health.pause is not None:
            times.append(now + self._health.pause)
        timeout = max(0.0, min(times) - now) if times else None
        asked = self._health.listener
        listener = [] if asked is None else [asked]
        ready, _, _ = select.select([self._wake[0], *lines, *listener], [], [], timeout)
        if asked in ready:
            self._health.answer(self._children(time.monotonic()))
        for one in ready:
            if one in lines:
                self._hear(lines[one])
        try:
            self._wake[0].recv(4096)
        except BlockingIOError:
            return
