"""What proves the death of a worker process, as functions of what was seen.

A worker's memory holds a lock on a file; the kernel frees the lock with the memory, however the process
ended.  Whoever then locks this very file knows that no instruction of that process will ever run again.  The
worker's entry in the registry says which file that is: boot of the kernel, device, inode, and a random token.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable

import attrs

from pytask.domain.figures import WorkerInfo

TURNED_OFF = "it is turned off"  # why there is no lock
PRIVATE = 0o077  # permissions that nobody but the owner may have
# File systems whose locks and inode numbers belong to one kernel, by the number that `statfs` gives.  All
# others are refused: a network file system may free the lock of a living process when it loses its server, or
# lock on one machine only, and an overlay may give one file two inodes.
LOCAL_FILE_SYSTEMS = {
    0x0000EF53: "ext4",
    0x58465342: "xfs",
    0x9123683E: "btrfs",
    0x01021994: "tmpfs",
    0xF2F52010: "f2fs",
    0x2FC12FC1: "zfs",
}
OTHER_FILE_SYSTEMS = {
    0x00006969: "NFS",
    0x0000517B: "SMB",
    0xFF534D42: "CIFS",
    0xFE534D42: "SMB",
    0x65735546: "FUSE",
    0x794C7630: "overlay",
    0x01021997: "9p",
    0x00C36400: "Ceph",
}


@attrs.frozen(kw_only=True)
class LockFile:
    """One file, for as long as its kernel runs."""

    boot: str  # the kernel's boot id: another machine, or this one after a restart, has another
    device: int
    inode: int
    token: str  # random: inode numbers are used again, and files are copied

    @property
    def mark(self) -> str:
        """The text in the worker's registry entry."""
        return f"{self.boot} {self.device} {self.inode} {self.token}"


def proven_dead(locked: LockFile, workers: Iterable[WorkerInfo]) -> list[str]:
    """The sessions whose process is dead, because the caller has locked their file.

    An entry without a lock, or with any difference, is not proven: its leases expire.
    """
    return [one.session for one in workers if locked.token and one.lock == locked.mark]


@attrs.frozen(kw_only=True)
class Folder:
    """What `lstat` and `statfs` say of a folder for such files."""

    mode: int
    owner: int
    file_system: int


def why_unusable(folder: Folder, user: int) -> str:
    """Why no lock in this folder would prove anything, in words; "" if it may be used."""
    if not stat.S_ISDIR(folder.mode):
        return "it is not a directory"
    if folder.owner != user:
        return f"it belongs to user {folder.owner}, not to {user}"
    if folder.mode & PRIVATE:
        return f"others may enter it (mode {stat.S_IMODE(folder.mode):04o}, not 0700)"
    if folder.file_system not in LOCAL_FILE_SYSTEMS:
        name = OTHER_FILE_SYSTEMS.get(folder.file_system, f"type {folder.file_system:#x}")
        return f"its file system ({name}) is not known to keep locks within one kernel"
    return ""
