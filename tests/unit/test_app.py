"""Settings that the composition root refuses."""

import subprocess
import sys

import pytest

from pytask import PyTask
from pytask.adapters.memory.backend import MemoryBackend
from pytask.domain.errors import ConfigError


def test_a_backend_of_ones_own_has_no_replicas_to_wait_for():
    with pytest.raises(ConfigError, match="durable_acks needs a Redis client or URL"):
        PyTask(MemoryBackend(), durable_acks=1).start()


LATE = """
from gevent import monkey; monkey.patch_all()
import logging; logging.basicConfig()
from pytask import PyTask, Task
from pytask.adapters.memory.backend import MemoryBackend

class Early(Task):
    class Config:
        NAME = "early"
    def start(self):
        pass

class Late(Task):
    class Config:
        NAME = "late"
    def start(self):
        pass

app = PyTask(MemoryBackend())
app.add_task(Early)
with app:
    app.add_task(Late)
app.add_task()
"""


def test_a_task_that_is_added_after_the_start_is_named():
    """A worker knows the classes that were there at its start; a push for another one is parked."""
    shown = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True, check=True)
    assert "task 'late' was added after the start: this worker does not run it" in shown.stderr
    assert shown.stderr.count("was added") == 1


FORKS = """
from gevent import monkey; monkey.patch_all()
import os, socket
from pytask import PyTask
from pytask.adapters.memory.backend import MemoryBackend

apps = [PyTask(MemoryBackend()), PyTask(MemoryBackend(), name="mine")]
if child := os.fork():
    os.waitpid(child, 0)
else:
    for app in apps:
        with app:
            print(app.worker.settings.name)
    print(f"{socket.gethostname()}-{os.getpid()}")
"""


def test_a_process_forked_from_the_one_that_made_the_app_has_a_name_of_its_own():
    """As `gunicorn --preload` does it: there, all workers had the name of their parent."""
    shown = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, check=True)
    default, chosen, expected = shown.stdout.split()
    assert default == expected
    assert chosen == "mine"


LOADS = """
import sys
import pytask.daemon.serve
from pytask import PyTask, Task

class Demo(Task):
    class Config:
        NAME = "demo"

    def start(self):
        pass

PyTask("redis://127.0.0.1:1/0").add_task(Demo)
print(sorted(name for name in sys.modules if name.startswith("pytask.client")))
"""


def test_a_worker_does_not_load_the_client_which_takes_a_megabyte():
    done = subprocess.run([sys.executable, "-c", LOADS], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
