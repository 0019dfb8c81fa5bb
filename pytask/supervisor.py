"""`pytask run TARGET --processes N`: N workers as processes under a parent that keeps them running.

The parent is not patched by gevent, imports neither the target nor Redis, and does nothing but wait.  Each
child has a line to it (a socket pair).  The parent's end of a line closes with the parent, however that
ends, and its child then hands its tasks back and ends too.  When a child is reaped, one of the living
ones is told to release the runs of the dead: they are found by the prefix that the parent chose for that
very process, and which begins all its run ids.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import attrs

from pytask.console.launch import REFUSED, Check, Launch
from pytask.console.settings import HANDED_URL
from pytask.console.sockets import own_socket
from pytask.domain.errors import ConfigError
from pytask.domain.escaping import escaped, in_json
from pytask.domain.plural import counted
from pytask.logger import get_logger
from pytask.reception import Reception
from pytask.runtime.notify import Notifier, take_from

log = get_logger(__name__)

YOUNG = 10.0  # seconds: a child that died younger is started again a little later each time
FIRST_DELAY, LAST_DELAY = 0.5, 30.0  # seconds; the first restart comes at once
STOP_LIMIT = (
    120.0  # seconds from the order to stop, or the end of the drain, to SIGKILL: over the kernel timer
)
ENTRUST_AGAIN = 5.0  # seconds without an answer after which another child is told to release as well
FORGET_AFTER = 900.0  # seconds after which the monitors have done it for certain
DRAINING = ", once those that run have ended or their time to drain is over; another signal: at once"
HOPELESS = (2, 78)  # exit codes of a wrong target, flag or setting: a restart changes nothing
STUCK = 70
POLITE = (signal.SIGTSTP, signal.SIGCONT, signal.SIGUSR1)  # passed on to the children


def restart_delay(young_deaths: int) -> float:
    """Seconds until the next start after so many deaths in a row at a young age: 0, 0.5, 1, 2 ... 30."""
    return 0.0 if young_deaths <= 1 else min(FIRST_DELAY * 2.0 ** min(young_deaths - 2, 10), LAST_DELAY)


def arguments(target: str, flags: Mapping[str, Any]) -> list[str]:
    """The command line of `pytask run` for these flags, those not given left out."""
    words = ["run"]
    for name, value in flags.items():
        option = name.replace("_", "-")
        if name == "monitor":
            words += [] if value else ["--no-monitor"]
        elif value is not None and value is not False:
            words += [f"--{option}={value}"]
    return [*words, "--", target]


@attrs.define(eq=False)
class Slot:
    """The place of one child, and the process that is in it."""

    number: int
    process: subprocess.Popen[bytes] | None = None
    line: socket.socket | None = None
    heard: bytes = b""
    prefix: str = ""
    began: float = 0.0
    young_deaths: int = 0
    due: float = 0.0  # when the next one is started
    left: bool = False  # the process said that it has handed all tasks back
    said: dict[str, Any] | None = None  # how it is, as it told last
    said_at: float = 0.0

    @property
    def ready(self) -> bool:
        """It takes tasks and listens."""
        return self.said is not None and bool(self.said.get("ready"))

    def tell(self, text: str) -> bool:
        """Send a line; False if nobody reads it any more."""
        try:
            if self.line is not None:
                self.line.send(f"{text}\n".encode())
        except OSError:
            return False
        return self.line is not None


@attrs.define(eq=False)
class Burial:
    """The runs of a dead process, until a child says that they are released."""

    prefix: str
    name: str
    since: float
    told: float = 0.0
    slot: Slot | None = None
    asked: subprocess.Popen[bytes] | None = None  # the process, which may be replaced in its slot


class Supervisor:
    """Waits for signals, deaths and words of the children; each `turn` is one look at all of them."""

    def __init__(
        self,
        command: Sequence[str],
        number: int,
        reception: Reception | None = None,
        check: Callable[[], Check] | None = None,
        folder: str | None = None,
    ) -> None:
        self._command = command
        self._folder = folder  # as given: a deploy may switch a link in it
        self._check = check  # begins to try the new code
        self._checking: Check | None = None
        self._reception = reception or Reception(None, Notifier({}))
        self._hangup = False
        self._quiet = False
        self._polite: list[int] = []  # signals to pass on
        self._rolling: list[Slot] = []  # still to be replaced, the first is at it
        self._rolled: subprocess.Popen[bytes] | None = None  # the process that the first one had
        self.slots = [Slot(i + 1) for i in range(number)]
        self.burials: dict[str, Burial] = {}
        self._signals = 0
        self._environ = dict(os.environ)
        take_from(self._environ)
        self._stopping: float | None = None
        self._drain = 0.0  # seconds that the children let their tasks run at the end, as they say
        self._hurried = False  # they were told to end that
        self._code = 0
        self._had_terminal = os.isatty(0)
        self._wake: tuple[socket.socket, socket.socket] = socket.socketpair()
        for end in self._wake:
            end.settimeout(0)

    # -- life -----------------------------------------------------------------------------------------

    def run(self) -> int:
        """Until a signal, and until all children have ended; the exit code."""
        handled = [signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, *POLITE]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # else `nohup` wants it so
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
        """Start what is due, wait, hear, reap."""
        now = time.monotonic()
        if self._stopping is None:
            for slot in self.slots:
                if slot.process is None and slot.due <= now:
                    self._start(slot)
        elif now - self._stopping > STOP_LIMIT + self._drain or self._signals > (2 if self._drain else 1):
            self._kill()
        elif self._signals > 1 and not self._hurried:
            self._hurried = True
            log.info("signal received: the children hand back what still runs")
            self._tell_all("hurry")
        self._entrust(now)
        self._oblige()
        self._roll()
        self._reception.turn(self._children(now))
        self._wait(now)
        self._reap()
        if self._signals and self._stopping is None:
            children = counted(self._living, "child hands its", "children hand their")
            self.stop()
            log.info("signal received: %s tasks back%s", children, (self._drain and DRAINING) or "")

    def stop(self, code: int = 0) -> None:
        """Let all children hand back and end; by the line, so that a service manager may send SIGTERM too."""
        self._code = self._code or code
        self._stopping = self._stopping or time.monotonic()
        self._drain = max([float((slot.said or {}).get("drain", 0.0)) for slot in self.slots])
        self._rolling.clear()
        if self._checking is not None:
            self._checking.end()
            self._checking = None
        self._reception.leave(self._drain)
        self._tell_all("stop")

    def _tell_all(self, word: str) -> None:
        for slot in self.slots:
            slot.tell(word)

    def _kill(self) -> None:
        for slot in self.slots:
            if slot.process is not None and slot.process.poll() is None:
                log.warning("child %d (pid %d) is killed", slot.number, slot.process.pid)
                slot.process.kill()
                self._code = self._code or 1

    def _close(self) -> None:
        for slot in self.slots:
            if slot.line is not None:
                slot.line.close()  # a child that is left ends by that
        for end in self._wake:
            end.close()
        self._reception.close()

    @property
    def _living(self) -> int:
        return sum(slot.process is not None for slot in self.slots)

    def _signalled(self, number: int, _frame: FrameType | None) -> None:
        if number in POLITE:
            self._polite.append(number)
        elif number == signal.SIGHUP:
            self._hangup = True
        elif number != signal.SIGCHLD:
            self._signals += 1

    def _children(self, now: float) -> list[tuple[dict[str, Any] | None, float]]:
        return [(slot.said, now - slot.said_at) for slot in self.slots]

    # -- wishes ---------------------------------------------------------------------------------------

    def _oblige(self) -> None:
        """Pass on what signals ask for: quiet and resume as words, which also reach one that just starts."""
        while self._polite:
            number = self._polite.pop(0)
            if number == signal.SIGUSR1:
                for slot in self.slots:
                    # One that has not spoken has no handler so far, and would end by it.
                    if slot.process is not None and slot.said is not None:
                        slot.process.send_signal(number)
                continue
            self._quiet = number == signal.SIGTSTP
            log.info("signal received: the children %s", "are quiet" if self._quiet else "take tasks again")
            self._tell_all("quiet" if self._quiet else "resume")

    def _roll(self) -> None:
        """SIGHUP: one child after the other is replaced, the next when its successor takes tasks."""
        if self._hangup and self._stopping is None and not self._rolling and self._checking is None:
            self._hangup = False
            if not os.isatty(0) and self._had_terminal:
                self.stop()  # that signal was the terminal going away
                return
            log.info("signal received: a child process checks what would start now")
            self._reception.reload(done=False)
            self._checking = self._check() if self._check is not None else None
            if self._checking is None:
                self._replace()
        self._look_at_check()
        while self._rolling and self._rolling[0].process is not self._rolled and self._rolling[0].ready:
            del self._rolling[0]
            self._begin_to_replace()

    def _look_at_check(self) -> None:
        """The end of its process wakes `turn` by SIGCHLD."""
        failed = self._checking.result() if self._checking is not None else None
        if failed is None:
            return
        self._checking = None
        if not failed:
            self._replace()
            return
        log.error(REFUSED, self._folder, failed)
        self._reception.reload(done=True, how="the new code was refused; the old goes on")

    def _replace(self) -> None:
        log.info("the children are replaced, one after the other")
        self._rolling = list(self.slots)
        self._begin_to_replace()

    def _begin_to_replace(self) -> None:
        if not self._rolling:
            log.info("all children are replaced")
            self._reception.reload(done=True)
            return
        self._rolled = self._rolling[0].process
        self._rolling[0].tell("stop")

    # -- children -------------------------------------------------------------------------------------

    def _start(self, slot: Slot) -> None:
        ours, theirs = socket.socketpair()
        os.set_blocking(theirs.fileno(), True)  # where this very process is patched, it is not
        slot.prefix = f"{secrets.token_hex(6)}."
        words = [*self._command[:-2], f"--supervised={theirs.fileno()}:{slot.number}:{slot.prefix}"]
        try:
            # A process group of its own: Ctrl-C reaches the parent alone, which then tells the children.
            slot.process = subprocess.Popen(
                [*words, *self._command[-2:]],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                process_group=0,
                cwd=self._folder,
                env=self._environ,
            )
        except OSError as error:
            ours.close()
            slot.young_deaths += 1
            slot.due = time.monotonic() + max(FIRST_DELAY, restart_delay(slot.young_deaths))
            log.error("child %d cannot be started: %s; tried again", slot.number, error)
            return
        finally:
            theirs.close()
        ours.settimeout(0)
        slot.line, slot.heard, slot.began = ours, b"", time.monotonic()
        slot.said, slot.said_at, slot.left = None, slot.began, False
        if self._quiet:
            slot.tell("quiet")
        log.info("child %d started, pid %d", slot.number, slot.process.pid)

    def _reap(self) -> None:
        for slot in self.slots:
            if slot.process is not None and slot.process.poll() is not None:
                self._dead(slot, slot.process)

    def _dead(self, slot: Slot, process: subprocess.Popen[bytes]) -> None:
        now = time.monotonic()
        code, lived = process.returncode, now - slot.began
        self._hear(slot)
        if slot.line is not None:
            slot.line.close()
        slot.process, slot.line, slot.said = None, None, None
        how = f"was killed by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
        if -code == signal.SIGKILL:  # the kernel's timer sends it, too, to one that was silent for long
            how += f" {now - slot.said_at:.0f} s after it was last heard"
        # 0 alone proves nothing: a task may have ended the process by `os._exit(0)`.
        if code != 0 or not slot.left:
            name = f"child {slot.number} (pid {process.pid})"
            self.burials[slot.prefix] = Burial(slot.prefix, name, now)
        if self._stopping is not None:
            log.log(logging.WARNING if code else logging.INFO, "child %d %s", slot.number, how)
            self._code = self._code or (STUCK if code == STUCK else int(code != 0))
            return
        if code in HOPELESS and lived < YOUNG and self._rolling:
            log.error(
                "child %d %s: the new code or its settings cannot run. The children that are left go on with"
                " the old; it is tried again in %g s, and by the next SIGHUP", slot.number, how, LAST_DELAY,
            )  # fmt: skip
            self._rolling.clear()
            self._reception.reload(done=True)
            slot.due = now + LAST_DELAY
            return
        if code in HOPELESS and lived < YOUNG and not any(other.ready for other in self.slots):
            log.error("child %d %s: it would do so again, all children end", slot.number, how)
            self.burials.pop(slot.prefix, None)
            self.stop(code)
            return
        slot.young_deaths = slot.young_deaths + 1 if lived < YOUNG else 1
        slot.due = now + restart_delay(slot.young_deaths)
        log.warning(
            "child %d (pid %d) %s after %.1f s; started again in %.1f s",
            slot.number, process.pid, how, lived, slot.due - now,
        )  # fmt: skip

    # -- the runs of the dead -------------------------------------------------------------------------

    def _entrust(self, now: float) -> None:
        """Every burial to one living child: two at once would each see half a crowd, and blame wrongly."""
        for burial in list(self.burials.values()):
            waits = burial.slot is not None and burial.slot.process is burial.asked is not None
            if waits and now - burial.told < ENTRUST_AGAIN:
                continue
            if now - burial.since > FORGET_AFTER:
                del self.burials[burial.prefix]
                continue
            # The longest living one listens already; the one that did not answer comes last.
            living = [slot for slot in self.slots if slot.process is not None]
            for slot in sorted(living, key=lambda slot: (slot is burial.slot, slot.began)):
                if slot.tell(f"release {burial.prefix}"):
                    burial.slot, burial.asked, burial.told = slot, slot.process, now
                    log.info("child %d releases the runs of %s", slot.number, burial.name)
                    break

    def _hear(self, slot: Slot) -> None:
        try:
            fresh = slot.line.recv(65536) if slot.line is not None else b""
        except OSError:
            return
        *lines, slot.heard = (slot.heard + fresh).split(b"\n")
        for line in lines:
            if line.startswith(b"pulse "):
                slot.said, slot.said_at = _read(line[6:]), time.monotonic()
                continue
            if line == b"left":
                slot.left = True
                continue
            words = line.decode(errors="replace").split()
            if len(words) == 4 and words[0] == "released" and words[1] in self.burials:
                burial = self.burials.pop(words[1])
                log.info(
                    "%s runs of %s are released, %s are left to the monitors, %.1f s after its death",
                    words[2], burial.name, words[3], time.monotonic() - burial.since,
                )  # fmt: skip

    # -- waiting --------------------------------------------------------------------------------------

    def _wait(self, now: float) -> None:
        times = [slot.due for slot in self.slots if slot.process is None and self._stopping is None]
        times += [burial.told + ENTRUST_AGAIN for burial in self.burials.values() if burial.slot]
        if self._stopping is not None or self._checking is not None:
            times.append(now + 1.0)
        if self._reception.pause is not None:
            times.append(now + self._reception.pause)
        timeout = max(0.0, min(times) - now) if times else None
        lines = {slot.line: slot for slot in self.slots if slot.line is not None and not _ended(slot.line)}
        asked = self._reception.listener
        listener = [] if asked is None else [asked]
        ready, _, _ = select.select([self._wake[0], *lines, *listener], [], [], timeout)
        if asked in ready:
            self._reception.answer(self._children(time.monotonic()))
        for one in ready:
            if one in lines:
                self._hear(lines[one])
        try:
            self._wake[0].recv(4096)
        except BlockingIOError:
            return


def _ended(line: socket.socket) -> bool:
    """A child that closed its end (it is about to end) would make every `select` return at once."""
    try:
        return line.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def _read(text: bytes) -> dict[str, Any] | None:
    try:
        said = json.loads(text)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


# -- the command --------------------------------------------------------------------------------------------


def supervise(target: str, number: int, flags: Mapping[str, Any]) -> int:
    """Run `number` workers until a signal; the exit code.  An embedded server is the parent's."""
    launch = Launch.recorded()
    flags = dict(flags)
    embedded, folder, run_dir = (flags.pop(name, None) for name in ("embedded", "data_dir", "run_dir"))
    _set_up_logging(flags)
    with ExitStack() as servers:
        if embedded:
            from pytask.console.private import private_url

            flags |= {"redis": private_url(folder, servers), "private": True}
        log.info("supervisor %d runs %s of %s", os.getpid(), counted(number, "worker"), target)
        reception = Reception(_run_path(run_dir), Notifier())
        if url := flags.pop("redis", None):
            # Every user of the machine may read command lines, with the password; an environment its owner.
            os.environ[HANDED_URL] = url
        words = arguments(target, flags)
        check = partial(launch.check, words)
        code = Supervisor([*launch.program, *words], number, reception, check, launch.folder).run()
        log.info("all children have ended")
        return code


def _run_path(run_dir: str | None) -> Path | None:
    try:
        return own_socket(run_dir)
    except ConfigError as error:
        if run_dir:
            raise
        log.warning("`pytask health` will not find this supervisor: %s", error)
        return None


class ConsoleLines(logging.Formatter):
    """Times as the children write them: in UTC."""

    converter = staticmethod(time.gmtime)
    default_msec_format = "%s.%03dZ"

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        """The line, on one line: what children said is in it."""
        return escaped(super().formatMessage(record))


class JsonLines(logging.Formatter):
    """As the children write them; theirs needs gevent, which has no place here."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line."""
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "time": f"{when}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "worker": "supervisor",
            "task": "-",
            "message": record.getMessage(),
        }
        return in_json(json.dumps(line, ensure_ascii=False))


def _set_up_logging(flags: Mapping[str, Any]) -> None:
    handler = logging.StreamHandler()
    console = "%(asctime)s %(levelname)-7s [supervisor] %(name)s: %(message)s"
    handler.setFormatter(JsonLines() if flags.get("log_format") == "json" else ConsoleLines(console))
    root = logging.root
    root.addHandler(handler)
    root.setLevel((flags.get("log_level") or "info").upper())
