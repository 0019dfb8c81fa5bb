"""The app of a worker that runs the tasks of Django."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any

import django
from django.apps import apps
from django.conf import settings
from django.tasks import task_backends
from django.utils.module_loading import autodiscover_modules

from pytask.app import PyTask
from pytask.django.backend import PytaskBackend
from pytask.django.task import Place, task_class
from pytask.domain.errors import BadDjangoSettings

NO_SETTINGS = (
    "Django's settings are unknown: set DJANGO_SETTINGS_MODULE, as manage.py does, for example"
    " DJANGO_SETTINGS_MODULE=mysite.settings pytask run pytask.django.worker"
)


def worker_app(alias: str | None = None, queues: Iterable[str] | None = None, **changes: Any) -> PyTask:
    """An app that runs the tasks of a backend; it is also the place for `Task` classes of your own.

    Sets Django up, and imports the module `tasks` of every installed app.

    Args:
        alias: The entry of TASKS.  Default: "default" if that uses this backend, else the only one that does.
        queues: The queues to work for.  Default: `QUEUES` of the entry.
        **changes: Fields of `pytask.Settings`, before those in `OPTIONS["worker"]`.

    Raises:
        BadDjangoSettings: The settings have no such backend, or an option of it is invalid.
    """
    _set_up()
    backend = _backend(alias)
    options = backend.pytask_options
    autodiscover_modules("tasks")
    for module in options.modules:
        import_module(module)
    app = PyTask(
        options.source,
        **{**options.worker, **changes, "namespace": options.namespace, "partitions": options.partitions},
    )
    for queue in _queues(backend, queues):
        app.add_task(task_class(Place(backend, queue, worker=lambda: app.settings.name)))
    return app


def _set_up() -> None:
    if not settings.configured and not os.environ.get("DJANGO_SETTINGS_MODULE"):
        raise BadDjangoSettings(NO_SETTINGS)
    if not apps.ready:
        django.setup()


def _backend(alias: str | None) -> PytaskBackend:
    found = {one.alias: one for one in task_backends.all() if isinstance(one, PytaskBackend)}
    if alias is None:
        alias = "default" if "default" in found or len(found) != 1 else next(iter(found))
    if alias in found:
        return found[alias]
    others = f"; it is that of {_listed(found)}" if found else ""
    raise BadDjangoSettings(
        f'the backend of TASKS["{alias}"] is not pytask.django.PytaskBackend{others}: name it there, or give'
        " worker_app(alias) in a file of your own the entry whose tasks this worker runs"
    )


def _queues(backend: PytaskBackend, queues: Iterable[str] | None) -> Sequence[str]:
    chosen = sorted(backend.queues) if queues is None else [*queues]
    unknown = [one for one in chosen if backend.queues and one not in backend.queues]
    if chosen and not unknown:
        return chosen
    where = f'"QUEUES" of TASKS["{backend.alias}"]'
    if unknown:
        raise BadDjangoSettings(
            f"{where} has no queue {unknown[0]!r}; it has {_listed(backend.queues)}: add it there"
        )
    raise BadDjangoSettings(
        f"{where} is empty, so this worker has no queue to work for: name the queues there"
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, sorted(names)))
