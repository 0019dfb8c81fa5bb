"""What counts as a proof of death, and where a lock proves one."""

import stat

import attrs
import pytest

from pytask.domain.figures import WorkerInfo
from pytask.domain.proofs import (
    LOCAL_FILE_SYSTEMS,
    OTHER_FILE_SYSTEMS,
    Folder,
    LockFile,
    proven_dead,
    why_unusable,
)

FILE = LockFile(boot="d2dc26be-bece", device=66305, inode=12, token="ab" * 16)
GOOD = Folder(mode=stat.S_IFDIR | 0o700, owner=1000, file_system=0xEF53)


def entry(session, lock):
    return WorkerInfo(session=session, lock=lock)


def test_the_sessions_whose_entries_name_the_very_file_are_dead():
    workers = [entry("a", FILE.mark), entry("b", ""), entry("c", FILE.mark), entry("d", "something else")]
    assert proven_dead(FILE, workers) == ["a", "c"]


@pytest.mark.parametrize(
    "other",
    [
        {"boot": "another machine, or this one before it was restarted"},
        {"device": 66306},
        {"inode": 13},  # a copy, or a file that took its name
        {"token": "cd" * 16},  # an inode number that is used again
    ],
)
def test_any_difference_proves_nothing(other):
    assert proven_dead(attrs.evolve(FILE, **other), [entry("a", FILE.mark)]) == []


def test_an_entry_without_a_lock_is_never_proven():
    empty = LockFile(boot="", device=0, inode=0, token="")
    assert proven_dead(empty, [entry("a", ""), entry("b", empty.mark)]) == []


@pytest.mark.parametrize("file_system", LOCAL_FILE_SYSTEMS)
def test_a_private_folder_on_a_local_file_system_may_be_used(file_system):
    assert why_unusable(attrs.evolve(GOOD, file_system=file_system), 1000) == ""


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"mode": stat.S_IFREG | 0o700}, "it is not a directory"),
        ({"mode": stat.S_IFLNK | 0o700}, "it is not a directory"),
        ({"owner": 0}, "it belongs to user 0, not to 1000"),
        ({"mode": stat.S_IFDIR | 0o750}, "others may enter it (mode 0750, not 0700)"),
        ({"mode": stat.S_IFDIR | 0o701}, "others may enter it (mode 0701, not 0700)"),
        (
            {"file_system": 0x1234},
            "its file system (type 0x1234) is not known to keep locks within one kernel",
        ),
    ],
)
def test_any_other_folder_is_refused(change, why):
    assert why_unusable(attrs.evolve(GOOD, **change), 1000) == why


@pytest.mark.parametrize("file_system", OTHER_FILE_SYSTEMS)
def test_network_file_systems_and_overlays_are_refused_by_name(file_system):
    why = why_unusable(attrs.evolve(GOOD, file_system=file_system), 1000)
    assert why.startswith(f"its file system ({OTHER_FILE_SYSTEMS[file_system]})")
