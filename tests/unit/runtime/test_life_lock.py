"""The lock that lives as long as its process: real processes, which die in every way, or seem to."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import attrs
import pytest

from pytask.domain.figures import WorkerInfo
from pytask.domain.proofs import LockFile, proven_dead
from pytask.runtime.process import life_lock
from pytask.runtime.process.life_lock import LifeLock, LockFolder, Unusable
from tests.support.container import container

ROOT = Path(__file__).resolve().parents[3]
HOLDER = """
import ctypes, os, resource, signal, subprocess, sys, threading, time
from pytask.runtime.process import life_lock
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
own = life_lock.hold(sys.argv[1])
print(own.file.mark, flush=True)
{then}
sys.stdin.readline()
"""
SECONDS = 20.0  # for what the kernel does at once, on a busy machine


@pytest.fixture
def place(tmp_path):
    made = tmp_path / "locks"
    made.mkdir(mode=0o700)
    return made


@pytest.fixture
def folder(place):
    """The locks of others, as a worker without a file there sees them."""
    nobody = LockFile(boot="", device=0, inode=0, token="")
    return LockFolder(LifeLock(place / "own.lock", nobody, 0, 0))


@pytest.fixture
def holder(place):
    """`holder(then)`: a process with the lock, which has then done that; and its mark."""
    made = []

    def start(then="", words=()):
        process = subprocess.Popen(
            [*words, sys.executable, "-c", HOLDER.format(then=then), str(place)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        made.append(process)
        process.mark = process.stdout.readline().strip()
        return process

    yield start
    for process in made:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.stdin.close()
        process.stdout.close()
        process.wait()


def dead(folder):
    return [one.mark for one in folder.dead()]


def eventually(true):
    until = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < until, "it did not come true"
        time.sleep(0.005)


def says(process, word):
    assert process.stdout.readline().strip() == word


@pytest.mark.parametrize(
    "how",
    [
        "os.kill(os.getpid(), signal.SIGKILL)",
        "ctypes.string_at(0)",  # a segmentation fault
        "os._exit(0)",
        "os.abort()",
        "threading.Thread(target=os._exit, args=[1]).start()",
        "threading.Thread(target=time.sleep, args=[1000]).start(); os.kill(os.getpid(), signal.SIGKILL)",
        "os.execvp('sleep', ['sleep', '1000'])",  # another program: what ran before is gone
    ],
)
def test_however_it_dies_its_lock_is_free(folder, holder, how):
    process = holder(how)
    eventually(lambda: dead(folder) == [process.mark])


@pytest.mark.parametrize(
    "then",
    [
        "pass",
        "os.closerange(3, 70000)",
        "os.closerange(0, 70000); time.sleep(1000)",
        "threading.Thread(target=time.sleep, args=[1000]).start(); ctypes.CDLL(None).pthread_exit(None)",
        "os.fork() or time.sleep(1000)",
        "subprocess.run(['true'])",
    ],
)
def test_while_it_lives_nobody_gets_it(folder, holder, then):
    process = holder(f"print('before', flush=True)\n{then}\nprint('after', flush=True)")
    says(process, "before")
    if "closerange(0" not in then and "pthread_exit" not in then:
        says(process, "after")
    for _ in range(20):
        assert dead(folder) == []
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    eventually(lambda: dead(folder) == [process.mark])


def test_a_stopped_process_lives(folder, holder):
    process = holder()
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    assert dead(folder) == []
    process.send_signal(signal.SIGCONT)
    assert dead(folder) == []


def test_a_forked_child_that_may_act_keeps_it(folder, holder):
    process = holder("child = os.fork()\nif child:\n    print(child, flush=True)\n    os._exit(0)")
    child = int(process.stdout.readline())
    process.wait()
    assert dead(folder) == []
    os.kill(child, signal.SIGKILL)
    eventually(lambda: dead(folder) == [process.mark])


def test_a_program_that_was_executed_does_not(folder, holder):
    process = holder("subprocess.Popen(['sleep', '1000'], close_fds=False); print('on', flush=True)")
    says(process, "on")
    process.kill()
    eventually(lambda: dead(folder) == [process.mark])


def test_who_has_a_share_keeps_it(folder, holder):
    process = holder(
        "fd = life_lock.share()\nother = subprocess.Popen(['sleep', '1000'], pass_fds=[fd])\n"
        "os.close(fd)\nprint(other.pid, flush=True)"
    )
    other = int(process.stdout.readline())
    process.kill()
    process.wait()
    assert dead(folder) == []
    os.kill(other, signal.SIGKILL)
    eventually(lambda: dead(folder) == [process.mark])


def test_one_takes_what_all_see(folder, holder):
    process = holder("os._exit(1)")
    eventually(lambda: dead(folder) == [process.mark])
    (file,) = folder.dead()
    taken = folder.seize(file)
    assert taken.file == file
    assert (folder.seize(file), dead(folder)) == (None, [])
    taken.close()
    assert dead(folder) == [process.mark]
    taken = folder.seize(file)
    taken.remove()
    taken.close()
    assert (folder.seize(file), dead(folder)) == (None, [])


def test_a_copy_is_another_file(folder, holder, place):
    process = holder()
    for path in place.glob("*.lock"):
        shutil.copy2(path, place / "copy.lock")
    (copy,) = folder.dead()
    assert copy.mark != process.mark
    assert proven_dead(copy, [WorkerInfo(session="s", lock=process.mark)]) == []
    assert folder.seize(copy) is None  # it has not even its name


def test_a_file_in_its_place_is_another_file(folder, holder, place):
    process = holder()
    (path,) = place.glob("*.lock")
    text = path.read_text()
    path.rename(place / "moved")
    path.write_text(text)
    (file,) = folder.dead()
    assert proven_dead(file, [WorkerInfo(session="s", lock=process.mark)]) == []
    path.unlink()
    (place / "moved").rename(path)
    assert dead(folder) == []
    assert folder.seize(file) is None


def test_a_deleted_file_proves_nothing(folder, holder, place):
    process = holder()
    (path,) = place.glob("*.lock")
    path.unlink()
    process.kill()
    process.wait()
    assert dead(folder) == []


@pytest.mark.parametrize("text", ["", "short", "x" * 64, "../../../../etc/passwd" + "x" * 10])
def test_files_that_are_none_of_ours(folder, place, text):
    (place / "a.lock").write_text(text)
    (place / "b.lock").mkdir()
    os.mkfifo(place / "c.lock")
    (place / "d.lock").symlink_to("/etc/passwd")
    assert dead(folder) == []


def test_a_file_of_another_user(folder, holder, place, monkeypatch):
    process = holder("os._exit(0)")
    eventually(lambda: dead(folder) == [process.mark])
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    assert dead(folder) == []


def test_a_file_of_nobody_known_is_removed_after_an_hour(folder, holder, place):
    process = holder("os._exit(0)")
    eventually(lambda: dead(folder) == [process.mark])
    (path,) = place.glob("*.lock")
    (file,) = folder.dead()
    folder.tidy(file)
    assert path.exists()
    os.utime(path, (0, 0))
    folder.tidy(file)
    assert not path.exists()


def test_the_file_of_a_process_that_left_is_removed_unless_its_runs_wait(folder, holder, place):
    clean, unclean = holder(), holder("own.keep = True")
    for process in (clean, unclean):
        process.stdin.write("\n")
        process.stdin.flush()
        process.wait()
    assert dead(folder) == [unclean.mark]


# -- where there is none -------------------------------------------------------------------------------------


@pytest.fixture
def own(monkeypatch):
    """This process has none yet, and none after the test."""
    monkeypatch.setattr(life_lock, "_own", None)
    monkeypatch.setattr(life_lock, "_programs", 0)
    yield life_lock
    if life_lock._own is not None:
        life_lock.leave()
        life_lock._libc().munmap(life_lock._own.address, life_lock.mmap.PAGESIZE)


def test_one_for_each_process(own, place, folder, tmp_path):
    held = own.hold(str(place))
    assert own.hold(str(place)) is held
    assert (held.path.parent, dead(folder)) == (place, [])
    assert held.file.mark.split() == [
        life_lock._boot(),
        *map(str, held.file.mark.split()[1:3]),
        held.path.stem,
    ]
    before = held.path.stat().st_mtime_ns
    os.utime(held.path, (0, 0))
    held.refresh()
    assert held.path.stat().st_mtime_ns >= before
    (tmp_path / "other").mkdir(mode=0o700)
    with pytest.raises(Unusable, match=r"this process has its lock in .+ already"):
        own.hold(str(tmp_path / "other"))


def test_programs_that_have_no_share(own, place):
    assert own.share() is None
    with pytest.raises(Unusable, match="programs that do not have the lock"):
        own.hold(str(place))


def test_it_is_turned_off(own):
    with pytest.raises(Unusable, match="it is turned off"):
        own.hold("off")


def test_folders_that_are_refused(own, tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o755)
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "open")
    for name, why in [
        ("open", "others may enter it"), ("file", "File exists"), ("file/below", "Not a directory"),
        ("link", "it is not a directory"),
    ]:  # fmt: skip
        with pytest.raises(Unusable, match=f"{tmp_path / name}: {why}"):
            own.hold(str(tmp_path / name))


@pytest.mark.parametrize("file_system", [0x6969, 0xFF534D42, 0x65735546, 0x794C7630])
def test_file_systems_that_are_refused(own, place, monkeypatch, file_system):
    monkeypatch.setattr(life_lock, "_file_system", lambda _: file_system)
    with pytest.raises(Unusable, match="is not known to keep locks within one kernel"):
        own.hold(str(place))
    assert list(place.iterdir()) == []


def test_a_lock_that_does_not_hold_is_refused(own, place, monkeypatch):
    monkeypatch.setattr(life_lock, "_map", lambda _fd: life_lock._libc().mmap(None, 4096, 0, 0x21, -1, 0))
    with pytest.raises(Unusable, match="does not keep a lock with the memory"):
        own.hold(str(place))
    assert list(place.iterdir()) == []


def test_a_full_disk(own, place, monkeypatch):
    def full(_fd, _text):
        raise OSError(28, "No space left on device")

    for write in (full, lambda _fd, text: len(text) - 1):
        monkeypatch.setattr(life_lock.os, "write", write)
        with pytest.raises(Unusable, match=r": (N|n)o space left"):
            own.hold(str(place))
        assert list(place.iterdir()) == []


def test_without_a_boot_id(own, place, monkeypatch):
    def missing():
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(life_lock, "_boot", missing)
    with pytest.raises(Unusable, match="No such file"):
        own.hold(str(place))


def test_the_default_is_the_folder_of_the_unit_or_session_or_one_in_tmp(own, tmp_path, monkeypatch):
    monkeypatch.setenv("RUNTIME_DIRECTORY", f"{tmp_path}:/run/another")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert own.hold(None).path.parent == tmp_path / "locks"
    own.leave()
    monkeypatch.setattr(life_lock, "_own", None)
    monkeypatch.delenv("RUNTIME_DIRECTORY")
    assert own.hold(None).path.parent == tmp_path / "pytask" / "locks"
    own.leave()
    monkeypatch.setattr(life_lock, "_own", None)
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr(life_lock.tempfile, "gettempdir", lambda: str(tmp_path))
    assert own.hold(None).path.parent == tmp_path / f"pytask-{os.geteuid()}" / "locks"


def test_a_default_folder_that_others_may_change_is_refused(own, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "pytask").mkdir()
    (tmp_path / "pytask").chmod(0o777)
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    with pytest.raises(Unusable, match="others may write to it"):
        own.hold(None)


# -- other namespaces, and file systems that are really there -----------------------------------------------


def namespace():
    words, refused = container()
    return (*words, "--mount") if words else pytest.skip(refused)


def test_another_pid_and_mount_namespace(folder, holder):
    process = holder(words=namespace())
    for _ in range(20):
        assert dead(folder) == []  # alive, although no process here has its number
        time.sleep(0.005)
    process.kill()  # `unshare`, which takes the process with it
    eventually(lambda: dead(folder) == [process.mark])


OVERLAY = (
    "mount -t tmpfs t $2 && mkdir -m 700 $2/u $2/w"
    " && mount -t overlay o -o lowerdir=$1,upperdir=$2/u,workdir=$2/w $1"
)
FULL = "mount -t tmpfs -o size=4k,mode=700 t $1 && head -c 4096 /dev/zero > $1/full"


@pytest.mark.parametrize(("mount", "why"), [(OVERLAY, "overlay"), (FULL, "No space left")])
def test_file_systems_of_this_kernel(place, tmp_path, mount, why):
    (tmp_path / "other").mkdir()
    tried = subprocess.run(
        [*namespace(), "sh", "-c", f'{{ {mount}; }} || exit 99; exec "$3" -c "$4" "$1"', "sh", str(place),
         str(tmp_path / "other"), sys.executable, HOLDER.format(then="")],
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if tried.returncode == 99:
        pytest.skip(tried.stderr)
    assert (tried.returncode, tried.stdout) == (1, "")
    assert why in tried.stderr.splitlines()[-1]


def test_the_mark_names_one_file():
    file = LockFile(boot="b", device=1, inode=2, token="t")
    assert file.mark == "b 1 2 t"
    assert attrs.evolve(file) == file
