"""A worker that died is proven dead by its lock, at real times: no lease expires within a test."""

import json
import signal
from pathlib import Path

import pytest

from tests.integration.conftest import Lab, stop_politely, wait_until
from tests.integration.proof import Campaign
from tests.integration.test_doctor import diagnosis
from tests.support.cli_tools import Started, pytask, write
from tests.support.container import container
from tests.support.evidence import now

pytestmark = pytest.mark.slow

REAL = ("--monitor", "--scale", "1")
PROGRAM = """
    import os, signal, time
    import gevent
    from pytask import Task

    class Owner(Task):
        class Config:
            NAME = "owner"

        def act(self, who, kind):
            line = f"{time.monotonic_ns()} {self.id} {self._run.ref.run} {who} {kind}\\n"
            with open(os.environ["EVIDENCE"], "a") as file:
                file.write(line)

        def start(self):
            self.act(os.getpid(), "act")
            words = "trap '' TERM; echo; while :; do sleep 0.05; done"
            program = self.subprocess(["sh", "-c", words], stdout=-1)
            program.stdout.readline()
            self.act(program.pid, "program")
            gevent.sleep(1000)
"""


@pytest.fixture
def locks(tmp_path):
    return tmp_path / "locks"


def test_a_neighbor_takes_over_whatever_killed_a_worker(lab, locks):
    victims, ids = {}, []
    for number in (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT):
        victims[number] = lab.worker(*REAL, "--runtime-dir", locks, max_tasks=10)
        ids += lab.started(10)  # the others are full
    survivor = lab.worker(*REAL, "--runtime-dir", locks)
    assert {lab.evidence.last(i).pid for i in ids} == {one.pid for one in victims.values()}
    fault = now()
    for number, victim in victims.items():
        victim.signal(number)
    for victim in victims.values():
        victim.wait()
    lab.wait_acting(ids, since=fault, pid=survivor.pid)
    assert survivor.log.count("is dead, as its lock") == 3
    wait_until(lambda: lab.redis.hlen("pytask:workers:info") == 1)  # the dead are not listed with old figures
    lab.evidence.check()


def test_a_worker_that_is_started_again_proves_the_death_of_its_former_self(lab, locks):
    former = lab.worker(*REAL, "--runtime-dir", locks, max_tasks=20)
    lab.started(20)
    lab.push("tick")  # waits for a free place
    former.kill()
    again = lab.worker(*REAL, "--runtime-dir", locks, max_tasks=20)
    wait_until(lambda: len({act.id for act in lab.evidence.acts() if act.pid == again.pid}) == 20)
    assert "is dead, as its lock" in again.log
    lab.evidence.check()


def test_a_stopped_worker_keeps_its_tasks(lab, locks):
    stopped = lab.worker(*REAL, "--runtime-dir", locks, max_tasks=5)
    ids = lab.started(5)
    before = {i: lab.run(i) for i in ids}
    lab.worker(*REAL, "--runtime-dir", locks, name="looks")
    stopped.signal(signal.SIGSTOP)
    other = lab.worker(*REAL, "--runtime-dir", locks, name="looks-again")
    acting = lab.started(3)  # the others work
    other.kill()  # and prove a death meanwhile
    lab.wait_acting(acting, since=now())
    assert {i: lab.run(i) for i in ids} == before
    fault = now()
    stopped.signal(signal.SIGCONT)
    lab.wait_acting(ids, since=fault, pid=stopped.pid)
    assert {i: lab.run(i) for i in ids} == before
    lab.evidence.check()


def test_without_a_lock_the_lease_expires(lab, locks):
    victim = lab.worker("--monitor", max_tasks=10, name="victim")
    ids = lab.started(10)
    survivor = lab.worker("--monitor", "--runtime-dir", locks, name="survivor")
    fault = now()
    victim.kill()
    lab.wait_acting(ids, since=fault, pid=survivor.pid)
    assert "is dead, as its lock" not in survivor.log
    entries = {one["name"]: one for one in map(json.loads, lab.redis.hvals("pytask:workers:info"))}
    assert (entries["victim"]["lock"], entries["victim"]["unlocked"]) == ("", "it is turned off")
    assert len(entries["survivor"]["lock"].split()) == 4
    lab.evidence.check()


def test_a_worker_that_leaves_leaves_no_file(lab, locks):
    worker = lab.worker(*REAL, "--runtime-dir", locks)
    assert len([*locks.iterdir()]) == 1
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert [*locks.iterdir()] == []


def test_doctor_names_a_worker_without_a_lock(lab, locks):
    locks.mkdir()
    locks.chmod(0o755)
    first = lab.worker(*REAL, "--runtime-dir", locks, name="first")
    why = f"{locks}: others may enter it (mode 0755, not 0700)"
    assert "[PT184] the death of this process can be known by silence only (90 s)" in first.log
    assert f"as it has no lock file: {why}" in first.log
    found = wait_until(lambda: diagnosis(lab.server.url).get("PT184"))
    assert found["what"].startswith(f"1 worker, for example first, has no lock file: {why}. After")
    assert "a directory of the user, mode 0700" in found["fix"]
    assert stop_politely(first) == 0
    locks.chmod(0o700)
    lab.worker(*REAL, "--runtime-dir", locks, name="again")
    wait_until(lambda: lab.redis.hlen("pytask:workers:info") == 1)
    assert "PT184" not in diagnosis(lab.server.url)


def test_programs_of_the_dead_are_ended_first(lab, locks, tmp_path):
    """They have 2.5 s after SIGTERM, which this one ignores: no run begins before it is dead."""
    write(tmp_path / "tasks.py", PROGRAM)
    env = {"EVIDENCE": str(lab.evidence.path), "PYTASK_RUNTIME_DIR": str(locks)}
    words = pytask("run", tmp_path / "tasks.py", "--redis", lab.server.url)
    with Started(words, tmp_path, **env) as first, Started(words, tmp_path, **env) as second:
        lab.push("owner", "o")
        (program,) = wait_until(lambda: [act.pid for act in lab.evidence.acts("o", "program")])
        wait_until(lambda: len(lab.redis.hvals("pytask:workers:info")) == 2)
        owner = lab.evidence.acts("o", "act")[0].pid
        victim = first if first.process.pid == owner else second
        victim.process.kill()
        seen = [wait_until(lambda: not runs(program) and now())]
        seen += [act.at for act in wait_until(lambda: lab.evidence.acts("o", "act")[1:])]
        assert seen == sorted(seen)
        assert len(lab.evidence.runs("o")) == 2


def test_a_container_that_is_started_again_with_the_directory_on_a_volume(lab, locks, tmp_path):
    """Its former self had a process namespace and a mount namespace of its own, and pids as this one has."""
    words, refused = container()
    if not words:
        pytest.skip(refused)
    write(tmp_path / "tasks.py", PROGRAM)
    env = {"EVIDENCE": str(lab.evidence.path), "PYTASK_RUNTIME_DIR": str(locks)}
    run = [*words, "--mount", *pytask("run", tmp_path / "tasks.py", "--redis", lab.server.url)]
    lab.push("owner", "o")
    with Started(run, tmp_path, **env) as former:
        wait_until(lambda: lab.evidence.acts("o", "program"), why=lambda: former.output)
        wait_until(lambda: lab.redis.hlen("pytask:workers:info") == 1)
        former.process.kill()
        former.process.wait()
    with Started(run, tmp_path, **env) as again:
        wait_until(lambda: len(lab.evidence.runs("o")) == 2, why=lambda: again.output)
        again.process.kill()
        again.process.wait()
    assert "death%20of%20" in lab.field("o", "history")
    order = [act.run for act in lab.evidence.acts("o")]
    assert order == sorted(order, key=lab.evidence.runs("o").index)


def runs(pid):
    """Whether it is more than a zombie, which PID 1 of some containers does not reap."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_of_some_kills(server, workers, tmp_path):
    """The short form of `python -m tests.integration.proof`."""
    with Lab(server, workers) as lab:
        campaign = Campaign(lab, tmp_path, seed=1)
        campaign.start(200)
        for number in range(4):
            campaign.step(alone=number == 3)
        campaign.finish()
        assert len(campaign.started_again) == 200
        assert campaign.taken_over
        lab.evidence.check()
