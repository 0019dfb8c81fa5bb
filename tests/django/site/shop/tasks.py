"""Tasks of the site."""

import os
import time
from pathlib import Path

from django.db import connection
from django.tasks import task

from shop.models import Note


@task
def add(left, right):
    return left + right


@task(queue_name="mail")
def send(to):
    return f"sent to {to}"


@task(takes_context=True)
def attempts(context, folder):
    """Waits in the first run until it is killed; the second one says so."""
    (Path(folder) / str(context.attempt)).write_text(str(os.getpid()))
    while context.attempt == 1:
        time.sleep(0.05)
    return [context.attempt, context.task_result.id]


@task
def fail(text):
    raise LookupError(text)


@task
def leave():
    raise SystemExit("gone")


@task
def odd():
    return object()


@task
def wait_for(path):
    while not Path(path).exists():
        time.sleep(0.05)


@task
def note(text, meet=None, count=1):
    """Writes a row; with `meet`, only when so many runs have an open connection."""
    connection.ensure_connection()
    session = _session()
    if meet:
        (Path(meet) / f"{text}.here").touch()
        while len([*Path(meet).glob("*.here")]) < count:
            time.sleep(0.02)
        assert _session() == session
    return Note.objects.create(text=text, session=session).pk


@task
async def note_async(text):
    made = await Note.objects.acreate(text=text, session="async")
    return [made.pk, await Note.objects.filter(text=text).acount()]


def _session():
    """Which connection to the database this is."""
    if connection.vendor == "postgresql":
        return str(connection.connection.info.backend_pid)
    return hex(id(connection.connection))


def plain():
    """No task."""
    Path(os.environ["SITE_MARK"]).write_text("it ran")


class Trap:
    """An object that can be called, and that resembles a task."""

    func = staticmethod(plain)
    takes_context = False

    def __call__(self):
        plain()

    def call(self):
        plain()


trap = Trap()
