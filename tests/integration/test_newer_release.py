"""A worker of a later release at the same Redis: what is not understood is let be, and told once at most."""

import contextlib
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import gevent
import pytest

from tests.integration.conftest import PATIENCE, ROOT, TAKEOVER, H, wait_until
from tests.support.evidence import now

pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).with_name("programs") / "newer_program.py"
# What a busy machine makes a worker say, as often as it happens: no answer of Redis in time (there are
# millions of bytes a second to hear), and a loop that stood still.
BUSY = ("[PT051]", "answers again", "[PT041]")
FIRST = re.compile(r"^\S+ \S+ +(WARNING|ERROR|CRITICAL) +\[\w+\] (.*)$", re.MULTILINE)


@contextlib.contextmanager
def newer(url, *ids):
    process = subprocess.Popen([sys.executable, str(PROGRAM), url, *ids], cwd=ROOT)
    try:
        yield process
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def test_a_worker_goes_on_beside_a_later_release(lab):
    theirs = [f"tick{n}" for n in range(1, 6)]
    lab.redis.hset("foreign", mapping={"function": "tick", "data": "{}"})
    with newer(lab.server.url, "foreign", *theirs):
        wait_until(lambda: lab.redis.hexists("pytask:runs", "foreign"))
        worker = lab.worker("--monitor")
        assert lab.started(5) == theirs
        runs = {task_id: lab.run(task_id) for task_id in theirs}
        # A state word of later, at rest in a task that is pushed again, is one that can run.
        lab.redis.hset("paused", mapping={"function": "shot", "state": "PAUSED", "data": "{}", "zone": "b"})
        lab.redis.lpush("new-task", "paused")
        lab.wait_state("paused", "ENDED")
        wait_until(lambda: "the releases may be" in worker.log, 12 * H + PATIENCE)
        gevent.sleep(TAKEOVER)
        assert lab.evidence.acts("foreign") == [], "a run that is renewed is its owner's"
        lab.wait_acting(theirs, since=now())
        assert {task_id: lab.run(task_id) for task_id in theirs} == runs
        lab.control("tick1", "stop")  # amid all that, words of ours are heard
        lab.events.wait("tick1", "stopped")
        assert lab.redis.hget("tick2", "traits") == "[]", "fields of others are let be"
    lab.wait_acting("foreign", timeout=TAKEOVER + PATIENCE)
    assert json.loads(lab.field("foreign", "data")) == {}
    lab.wait_acting(theirs[1:], since=now())
    lab.evidence.check()
    assert worker.code is None
    counts = Counter(text for _, text in FIRST.findall(worker.log) if not any(word in text for word in BUSY))
    assert max(counts.values()) == 1, counts.most_common(3)
    assert "Traceback" not in worker.log
    assert not re.search(r"^\S+ \S+ +ERROR ", worker.log, re.MULTILINE)
