"""The lock that lives as long as this process, and the locks of other processes of this machine.

The lock (`flock`) hangs on a mapping of the file into memory, not on a descriptor: that is closed at once, so
no `closerange` of a task, no library that daemonizes and no use of the same number by another file can free
it.  The kernel frees it when the memory is gone, that is when no thread of the process can run.

- A forked child has the memory, too: the lock is then free when both are dead.
- A program that is executed does not, so programs that outlive their worker do not delay the proof.  The
  exception is `orphan_reaper`: it gets a lock of its own on the file, until the programs of
  `self.subprocess()` are dead.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import fcntl
import mmap
import os
import secrets
import stat
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

# Not os.close: gevent's closes in the next iteration of the event loop.
from posix import close
from typing import Any

import attrs

from pytask.domain.proofs import TURNED_OFF, Folder, LockFile, why_unusable
from pytask.logger import get_logger

log = get_logger(__name__)

OFF = "off"  # the value of the setting that turns it off
SUFFIX = ".lock"
READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
WRITE = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
TOKEN_BYTES = 16
FILES = 4096  # of a folder that are looked at
LEFTOVER = 3600.0  # seconds after which the file of a dead process of nobody known is removed
FAILED = ctypes.c_void_p(-1).value
EMPTY = 256  # bytes; more than any `struct statfs` has


class Unusable(OSError):
    """Why there is no lock, in words."""


@attrs.define(eq=False)
class LifeLock:
    """The lock of this process: held until its memory is gone."""

    path: Path
    file: LockFile
    pid: int
    address: int
    keep: bool = False  # whether the file stays after the end: runs may have to be released
    shared: bool = False

    def refresh(self) -> None:
        """Show those who clean up that the file is in use."""
        with contextlib.suppress(OSError):
            os.utime(self.path)

    def share(self) -> int | None:
        """A descriptor with a lock of its own on the file, for a process that outlives this one."""
        self.shared = True
        with contextlib.suppress(OSError):
            fd = os.open(self.path, WRITE)
            try:
                if _identity(fd) == self.file:
                    fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    return fd
            except OSError:
                close(fd)
                raise
            close(fd)
        return None


@attrs.frozen
class Life:
    """The lock of this process, or why it has none."""

    lock: LifeLock | None = None
    reason: str = ""

    @property
    def mark(self) -> str:
        """What the registry says of the lock; "" without one."""
        return self.lock.file.mark if self.lock is not None else ""


_own: LifeLock | None = None
_programs = 0  # the process that has a reaper without a lock


def hold(setting: str | None) -> LifeLock:
    """The lock of this process, taken at the first call.  Raises `Unusable`."""
    global _own  # noqa: PLW0603 - one for the process
    if setting == OFF:
        raise Unusable(TURNED_OFF)
    place = (Path(setting) if setting else _default()).absolute()
    if _own is not None and _own.pid == os.getpid():
        if _own.path.parent != place:
            raise Unusable(f"this process has its lock in {_own.path.parent} already")
        return _own
    if _programs == os.getpid():
        raise Unusable("tasks of this process have started programs that do not have the lock")
    try:
        _make(place, own=not setting)
        _own = _take(place)
    except Unusable:
        raise
    except OSError as error:
        raise Unusable(f"{place}: {error.strerror or error}") from None
    atexit.register(_leave, _own)
    return _own


def share() -> int | None:
    """As `LifeLock.share`, of the lock of this process, if there is one."""
    global _programs  # noqa: PLW0603 - one for the process
    if _own is not None and _own.pid == os.getpid():
        return _own.share()
    _programs = os.getpid()
    return None


def _default() -> Path:
    unit = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if unit:  # of a service manager: what is in /tmp may be the service's own, and end with it
        return Path(unit) / "locks"
    session = os.environ.get("XDG_RUNTIME_DIR")
    if session and Path(session).is_dir():
        return Path(session) / "pytask" / "locks"
    return Path(tempfile.gettempdir()) / f"pytask-{os.geteuid()}" / "locks"


def _make(place: Path, *, own: bool) -> None:
    if own:
        place.parent.mkdir(mode=0o700, exist_ok=True)
        above = place.parent.lstat()
        if above.st_uid != os.geteuid() or above.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise Unusable(f"{place.parent} belongs to another user, or others may write to it")
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = place.lstat()
    facts = Folder(mode=found.st_mode, owner=found.st_uid, file_system=_file_system(place))
    if why := why_unusable(facts, os.geteuid()):
        raise Unusable(f"{place}: {why}")


def _take(place: Path) -> LifeLock:
    """Create a file, lock it, and try whether the lock holds before anybody is told of it."""
    token = secrets.token_hex(TOKEN_BYTES)
    # Under a name that nobody looks at: whoever tried the lock now would hold it for a moment.
    draft = place / f".{token}"
    try:
        file, address = _write(draft, token)
        _try(draft, address)
        path = place / f"{token}{SUFFIX}"
        draft.rename(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return LifeLock(path, file, os.getpid(), address)


def _write(draft: Path, token: str) -> tuple[LockFile, int]:
    """The file as it is read, and where it is mapped."""
    fd = os.open(draft, WRITE | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        if os.write(fd, token.encode()) != len(token):
            raise Unusable(f"{draft.parent}: no space left")
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        file = _identity(fd)
        if file is None or file.token != token:
            raise Unusable(f"{draft.parent}: what was written is not what is read")
        return file, _map(fd)
    finally:
        close(fd)


def _try(draft: Path, address: int) -> None:
    seized = _locked(draft)
    if seized is not None:
        seized.close()
        _libc().munmap(address, mmap.PAGESIZE)
        raise Unusable(f"{draft.parent}: this system does not keep a lock with the memory of a process")


def leave() -> None:
    """Remove the file of this process, before it ends or becomes another program."""
    if _own is not None:
        _leave(_own)


def _leave(own: LifeLock) -> None:
    if own.pid == os.getpid() and not own.keep:
        own.path.unlink(missing_ok=True)


# -- the locks of others ------------------------------------------------------------------------------------


@attrs.frozen(eq=False)
class Seized:
    """The file of a dead process, locked by this one: others leave its runs to us meanwhile."""

    path: Path
    file: LockFile
    fd: int

    def remove(self) -> None:
        """Remove the file, if it still has its name."""
        with contextlib.suppress(OSError):
            named = self.path.lstat()
            if (named.st_dev, named.st_ino) == (self.file.device, self.file.inode):
                self.path.unlink()

    def close(self) -> None:
        """Let go of it."""
        with contextlib.suppress(OSError):
            close(self.fd)


class LockFolder:
    """The locks of the processes of this user whose folder is the same."""

    def __init__(self, own: LifeLock) -> None:
        self._own = own
        self.path = own.path.parent

    def dead(self) -> Iterator[LockFile]:
        """The files that nobody holds."""
        for path in self._files():
            seized = _locked(path)
            if seized is None:
                continue
            seized.close()
            yield seized.file

    def seize(self, file: LockFile) -> Seized | None:
        """Lock this very file; None if somebody else has it, or removed it."""
        seized = _locked(self.path / f"{file.token}{SUFFIX}")
        if seized is not None and seized.file != file:
            seized.close()
            return None
        return seized

    def tidy(self, file: LockFile) -> None:
        """Remove the file of a process that nobody here knows, if it is not for others, either."""
        seized = self.seize(file)
        if seized is not None:
            with contextlib.suppress(OSError):
                if time.time() - os.fstat(seized.fd).st_mtime > LEFTOVER:  # its holder renewed that
                    seized.remove()
            seized.close()

    def _files(self) -> list[Path]:
        try:
            with os.scandir(self.path) as entries:
                names = [entry.name for entry, _ in zip(entries, range(FILES), strict=False)]
        except OSError:
            return []
        own = self._own.path.name
        return [self.path / name for name in names if name.endswith(SUFFIX) and name != own]


def _locked(path: Path) -> Seized | None:
    """The file, locked; None if it is in use, or is none that proves anything."""
    try:
        fd = os.open(path, READ)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file = _identity(fd)
    except OSError:
        file = None
    if file is None:
        close(fd)
        return None
    return Seized(path, file, fd)


def _identity(fd: int) -> LockFile | None:
    """Which file that is; None for a file of another user, or one that is none of ours."""
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        return None
    token = os.pread(fd, 4 * TOKEN_BYTES, 0).decode("ascii", "replace")
    if len(token) != 2 * TOKEN_BYTES or not token.isalnum():
        return None
    return LockFile(boot=_boot(), device=found.st_dev, inode=found.st_ino, token=token)


# -- the system ---------------------------------------------------------------------------------------------


@cache
def _boot() -> str:
    """The boot id of the kernel.  Raises OSError where there is none, as on other systems than Linux."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


@cache
def _libc() -> Any:
    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    library.mmap.argtypes = (
        ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long,
    )  # fmt: skip
    library.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    return library


def _map(fd: int) -> int:
    """Map the file, without any access.  Not `mmap.mmap`: that keeps a descriptor, which a task may close."""
    none = 0  # PROT_NONE
    address = _libc().mmap(None, mmap.PAGESIZE, none, mmap.MAP_SHARED, fd, 0)
    if address in (None, FAILED):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(address)


def _file_system(path: Path) -> int:
    """The type of its file system, as in <linux/magic.h>."""
    found = ctypes.create_string_buffer(EMPTY)
    if _libc().statfs(os.fsencode(path), found):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return ctypes.c_ulong.from_buffer(found).value & 0xFFFFFFFF  # its first member
