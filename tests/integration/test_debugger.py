"""A person at a debugger takes longer than a worker may hang."""

import os
import pty
import subprocess
import time

from tests.support.cli_tools import environment, pytask, until, write

TASKS = """
    from pytask import Task

    class Looked(Task):
        class Config:
            NAME = "looked"
        def start(self):
            breakpoint()
            return "looked at"
"""
SCALE = 0.04
HARD = 70 * SCALE  # seconds after which the kernel ends a worker that hangs


def test_a_breakpoint_at_a_terminal_is_not_ended_by_the_kernel_timer(store, client, tmp_path):
    write(tmp_path / "tasks.py", TASKS)
    client.hset("t", mapping={"function": "looked", "data": "{}"})
    client.lpush("new-task", "t")
    leader, follower = pty.openpty()
    command = pytask("run", "tasks.py", "--redis", store.url, "--time-scale", SCALE, "--no-monitor")
    worker = subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdin=follower, stdout=follower, stderr=follower,
        start_new_session=True,
    )  # fmt: skip
    os.close(follower)
    os.set_blocking(leader, False)
    seen = bytearray()

    def shown(text):
        try:
            seen.extend(os.read(leader, 65536))
        except OSError:  # nothing so far, or nobody there any more
            assert worker.poll() is None, bytes(seen)
        return text in seen

    try:
        until(lambda: shown(b"(Pdb) "), lambda: bytes(seen))
        assert b"[PT144] breakpoint() in task t: a debugger blocks" in seen, bytes(seen)
        assert b'-> return "looked at"' in seen  # in the frame of the task
        time.sleep(1.25 * HARD)  # the kernel keeps its own time, on the busiest machine
        assert worker.poll() is None, bytes(seen)
        os.write(leader, b"print('it', 'lives')\n")
        until(lambda: shown(b"it lives"), lambda: bytes(seen))
    finally:
        worker.kill()
        worker.wait()
        os.close(leader)
