"""The domain needs neither Redis nor gevent, and its tests need no waiting."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOREIGN = ("gevent", "msgspec", "redis", "valkey", "fakeredis")

# A sleep in the tests or in the domain would end this run: the function itself is replaced.
SCRIPT = f"""
import sys, time

def refuse(seconds):
    raise AssertionError(f"somebody slept for {{seconds}} s")

time.sleep = refuse

import pytest

code = pytest.main(["tests/unit/domain", "-q", "-p", "no:cacheprovider", "-p", "no:cov"])
foreign = sorted({{name.partition(".")[0] for name in sys.modules}} & set({FOREIGN!r}))
print("exit code", int(code), "foreign", foreign)
"""


def test_the_domain_and_its_tests_are_pure():
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout.splitlines()[-1:] == ["exit code 0 foreign []"], done.stdout + done.stderr


def test_the_in_memory_twin_loads_neither_redis_nor_gevent():
    script = f"""
import sys
import pytask.adapters.memory
print(sorted({{name.partition(".")[0] for name in sys.modules}} & set({FOREIGN!r})))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stdout.strip() == "[]"
