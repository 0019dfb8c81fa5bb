"""Kernel timers that can end this process while its interpreter hangs.

`KillTimer` is a timer of its own: SIGKILL cannot be caught, it is independent of SIGALRM and setitimer, and
CLOCK_BOOTTIME counts while the machine is suspended.  It also kills a stopped process.  `AlarmTimer` exists
on every system, but is shared with the whole process.  Neither is inherited by fork.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from functools import partial
from typing import Protocol

from pytask.domain.errors import ConfigError
from pytask.logger import get_logger

log = get_logger(__name__)

SIGEV_SIGNAL = 0  # <signal.h> of Linux; glibc and musl agree
PADDING = 64  # more bytes than any `struct sigevent` has after its first three members


class Timer(Protocol):
    """A timer that ends the process."""

    def set(self, seconds: float) -> None:
        """End the process in `seconds`; 0 disarms."""


class _SigEvent(ctypes.Structure):
    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signo", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("padding", ctypes.c_char * PADDING),
    )


class _TimerSpec(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_long) for name in ("every_s", "every_ns", "in_s", "in_ns"))


class KillTimer:
    """A POSIX timer on CLOCK_BOOTTIME that sends SIGKILL.  Raises `OSError` if unsupported."""

    def __init__(self) -> None:
        clock = getattr(time, "CLOCK_BOOTTIME", None)
        if clock is None:
            raise OSError("this system has no CLOCK_BOOTTIME")
        library = _library()
        own = ctypes.c_void_p()
        event = _SigEvent(signo=signal.SIGKILL, notify=SIGEV_SIGNAL)
        _checked(library.timer_create(clock, ctypes.byref(event), ctypes.byref(own)))
        # Created once, as a worker that idles between short tasks sets its timer twice per task.
        self._spec = _TimerSpec()
        self._set = partial(library.timer_settime, own, 0, ctypes.byref(self._spec), None)

    def set(self, seconds: float) -> None:
        """End the process in `seconds`; 0 disarms."""
        whole = int(seconds)
        self._spec.in_s, self._spec.in_ns = whole, int((seconds - whole) * 1e9)
        _checked(self._set())


class AlarmTimer:
    """ITIMER_REAL with the default action of SIGALRM, as a Python handler could not run."""

    def __init__(self) -> None:
        if signal.getsignal(signal.SIGALRM) not in (signal.SIG_DFL, None):
            raise ConfigError(
                "this program handles SIGALRM, but on this system pytask needs its default action to end a"
                " process that cannot renew its leases; remove that handler, or pass hard_deadline=False"
                " (a weaker guarantee)"
            )

    def set(self, seconds: float) -> None:
        """End the process in `seconds`; 0 disarms."""
        signal.setitimer(signal.ITIMER_REAL, seconds)


def timer() -> Timer:
    """The best timer of this system."""
    try:
        return KillTimer()
    except OSError as error:
        log.warning("no separate kernel timer (%s): using SIGALRM, which tasks must not use", error)
        return AlarmTimer()


def _checked(answer: int) -> None:
    if answer != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _library() -> ctypes.PyDLL:
    for name in (None, "librt.so.1"):  # before glibc 2.34 the timers are in a library of their own
        library = ctypes.PyDLL(name, use_errno=True)
        if hasattr(library, "timer_create"):
            return library
    raise OSError("this system has no timer_create")
