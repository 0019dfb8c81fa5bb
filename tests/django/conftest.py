"""A site of Django with a real Redis, a real database and real workers; its tests need Django 6."""

import json
import subprocess
import sys
import textwrap
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import fixtures
from tests.support.cli_tools import Started, done, environment, pytask, until

SITE = Path(__file__).with_name("site")


class Site:
    """The site in `site`, whose settings come from the environment."""

    def __init__(self, store, folder, databases=None):
        self.store, self.folder = store, folder
        self.options = {"url": store.url}
        self.databases = databases or {
            "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / "db.sqlite3")}
        }
        self.more = {}

    @property
    def variables(self):
        mine = {
            "DJANGO_SETTINGS_MODULE": "mysite.settings",
            "SITE_OPTIONS": json.dumps(self.options),
            "SITE_DATABASES": json.dumps(self.databases),
            "SITE_MARK": str(self.folder / "mark"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        return mine | self.more

    def manage(self, *words):
        return done([sys.executable, "manage.py", *words], SITE, **self.variables)

    def migrate(self):
        shown = self.manage("migrate", "--run-syncdb", "-v0")
        assert shown.returncode == 0, shown.stderr

    def run(self, code):
        """What a process of the site prints: it has no gevent, as a web server."""
        before = (
            "import django; django.setup()\nfrom shop.tasks import *\nfrom tests.django.asking import *\n"
        )
        shown = subprocess.run(
            [sys.executable, "-W", "error", "-c", before + textwrap.dedent(code)],
            cwd=SITE,
            env=environment(**self.variables),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert shown.returncode == 0, shown.stderr
        return shown.stdout

    def json(self, code):
        """What it prints, as JSON."""
        return json.loads(self.run(code))

    @contextmanager
    def worker(self, *flags, target="pytask.django.worker"):
        with Started(pytask("run", target, *flags), self.folder, SITE, **self.variables) as running:
            running.says("takes tasks from")
            yield running


store, client = fixtures.store, fixtures.client


@pytest.fixture
def site(store, client, tmp_path):
    return Site(store, tmp_path)


@pytest.fixture
def settled(client):
    """`settled(id, state)`: the hash of a task that has reached that state."""

    def wait(task_id, *states):
        until(lambda: client.hget(task_id, "state") in states, lambda: client.hgetall(task_id))
        return client.hgetall(task_id)

    return wait
