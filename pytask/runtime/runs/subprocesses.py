"""Programs started with `self.subprocess()`: each is a process group, which ends with its run.

If the worker is killed, a small separate process (`orphan_reaper`) ends the groups.  The first process of a
group registers the group there before it executes the program.
"""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from pathlib import Path

# Not os.close: gevent's closes in the next iteration of the event loop, which a forked child may never reach.
from posix import close
from typing import Any, Protocol

import gevent
from gevent.subprocess import Popen

from pytask.domain.errors import NotRun
from pytask.logger import get_logger
from pytask.runtime.process import life_lock
from pytask.runtime.process.clock import steady
from pytask.runtime.runs import orphan_reaper
from pytask.runtime.tree import Service, TreeOwner

log = get_logger(__name__)

OURS = ("preexec_fn", "process_group", "start_new_session")  # options that conflict with the group
TERM_SHARE = 4  # fraction of the grace: from SIGTERM to SIGKILL
AT_ONCE = 50  # processes that are checked in one iteration of the event loop
KILL_SECONDS = 1.0  # for the kernel to carry out SIGKILL
STEP, LONGEST_STEP = 0.01, 0.1
HELD = 3  # the descriptor of `orphan_reaper` that holds the lock
ORPHANS = str(Path(orphan_reaper.__file__))


class ProgramOwner(TreeOwner, Protocol):
    """The part of a run that its programs need."""

    @property
    def grace(self) -> float:
        """The maximum seconds for a stop."""


# Groups that may have a living process, by their first process.  Any: in the stubs, `pid` is never None.
_groups: dict[ProgramOwner, list[Any]] = {}
_ending: set[ProgramOwner] = set()
_pipe = -1  # to `orphan_reaper`
_lines: dict[Any, int] = {}  # copies of it for programs that are just being started, by who starts them
_hooked = False


def start(run: ProgramOwner, args: Any, options: dict[str, Any]) -> Any:
    """Start a program in a group of its own, as part of `run`."""
    for name in OURS:
        if name in options:
            raise TypeError(f"self.subprocess() creates its own process group: leave out {name}")
    if run.over:
        raise NotRun(f"the run of task {run.id} is over: it cannot start a program")
    line = _lines[gevent.getcurrent()] = os.dup(_to_orphans(run.grace / TERM_SHARE))
    # Registered before the start: Popen waits for the exec, and the task may be killed meanwhile.
    program: Any = Popen.__new__(Popen)
    program.pid = program.returncode = None
    _groups.setdefault(run, []).append(program)
    try:
        program.__init__(args, preexec_fn=partial(_lead, line), **options)
    except BaseException:
        _undo(run, program)
        raise
    finally:
        if _lines.pop(gevent.getcurrent(), None) is not None:  # otherwise this is a forked child
            close(line)
    program.result.rawlink(partial(_first_ended, run, program))
    return program


def _lead(line: int) -> None:
    # In the child, where gevent runs Python code anyway: only system calls, without locks.
    os.setsid()
    os.write(line, b"+%d\n" % os.getpid())


def _undo(run: ProgramOwner, program: Any) -> None:
    # The exec failed or the task was killed meanwhile, possibly before the group existed.
    if program.pid is not None and program.returncode is None:
        orphan_reaper.signalled([program.pid], signal.SIGKILL)
        os.kill(program.pid, signal.SIGKILL)
    _forget(run, program)


def _first_ended(run: ProgramOwner, program: Any, _code: object) -> None:
    # In the hub.  Remaining processes of the group still belong to the run.
    if not _lives(program):
        _forget(run, program)


def _forget(run: ProgramOwner, program: Any) -> None:
    known = _groups.get(run, [])
    if program in known:
        known.remove(program)
        if program.pid is not None:
            _note(b"-%d\n" % program.pid)
    if not known:
        _groups.pop(run, None)


def _lives(program: Any) -> bool:
    if program.returncode is None:
        return program.pid is not None
    # A pid is not reused while its process group exists, so a process with this pid means that the group
    # is gone.
    return bool(orphan_reaper.signalled([program.pid], 0)) and not _exists(program.pid)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _may_act(program: Any) -> bool:
    return _lives(program) and (program.returncode is None or _acts(program.pid))


def _acts(group: int) -> bool:
    """Whether a group has more than zombies, which PID 1 of many containers does not reap."""
    if not os.path.exists("/proc/self/stat"):  # noqa: PTH110 - as the lines below
        return True
    for number, name in enumerate(filter(str.isdigit, os.listdir("/proc"))):  # noqa: PTH208
        if number % AT_ONCE == AT_ONCE - 1:
            gevent.sleep(0)
        try:
            with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
                state, _, its_group = file.read().rpartition(b")")[2].split()[:3]
        except OSError:
            continue  # it has ended meanwhile
        if int(its_group) == group and state not in b"ZX":
            return True
    return False


# -- the end of a run --------------------------------------------------------------------------------------


def end(run: ProgramOwner) -> bool:
    """Start to end the programs of a run; returns whether there are any.

    The greenlet that does it is part of the run, so the run is over when they are gone.
    """
    if run not in _groups:
        return False
    if run not in _ending:
        _ending.add(run)
        greenlet = Service(_end, run)
        greenlet.name = f"end of the programs of task {run.id}"
        run.adopt(greenlet)
        greenlet.start()
    return True


def _end(run: ProgramOwner) -> None:
    asked: set[tuple[Any, int]] = set()
    pause = STEP
    until = steady() + run.grace / TERM_SHARE
    while living := [*filter(_may_act, tuple(_groups.get(run, ())))]:
        late = steady() - until
        if late > KILL_SECONDS:  # unreaped zombies, or uninterruptible processes
            pids = [one.pid for one in living]
            log.warning("task %s: process groups %s still exist after SIGKILL", run.id, pids)
            break
        number = signal.SIGKILL if late >= 0 else signal.SIGTERM
        orphan_reaper.signalled([one.pid for one in living if (one, number) not in asked], number)
        asked |= {(one, number) for one in living}
        gevent.sleep(pause)
        pause = min(2 * pause, LONGEST_STEP)
    for program in list(_groups.get(run, ())):
        _forget(run, program)
    _ending.discard(run)


# -- the orphan reaper -------------------------------------------------------------------------


def _to_orphans(grace: float) -> int:
    """The pipe to it; starts it with the first program, or again if it was killed."""
    global _pipe, _hooked  # noqa: PLW0603 - one for all workers of the process
    if _pipe >= 0 and _note(b"\n"):
        return _pipe
    if not _hooked:
        _hooked = True
        os.register_at_fork(after_in_child=_forked)
    if _pipe >= 0:
        close(_pipe)
    read, _pipe = os.pipe()
    lock = life_lock.share()  # until the programs are dead, nobody may conclude that the run is
    held = [] if lock is None else [(os.POSIX_SPAWN_DUP2, lock, HELD)]
    try:
        os.set_blocking(_pipe, False)
        null = (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0), (os.POSIX_SPAWN_DUP2, 1, 2)
        command = [sys.executable, "-I", "-S", ORPHANS, f"{grace:g}"]
        # Not Popen, as its end is not awaited.  In its own group, so that Ctrl-C does not reach it.
        os.posix_spawn(
            sys.executable, command, os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, read, 0), *null, *held], setpgroup=0,
        )  # fmt: skip
    finally:
        close(read)
        if lock is not None:
            close(lock)
    for known in _groups.values():
        for program in known:
            if program.pid is not None:
                _note(b"+%d\n" % program.pid)
    return _pipe


def _note(line: bytes) -> bool:
    try:
        os.write(_pipe, line)
    except OSError:
        return False
    return True


def _forked() -> None:
    # In every child: if this end stayed open there, the death of the worker would not be detected.
    global _pipe  # noqa: PLW0603
    if _pipe >= 0:
        close(_pipe)
        _pipe = -1
    for starter in [one for one in _lines if one is not gevent.getcurrent()]:
        close(_lines.pop(starter))
