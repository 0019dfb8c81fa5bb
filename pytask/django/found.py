"""From the name of a task, which came from Redis, to a task of Django that may run."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from django.apps import apps
from django.tasks import Task

from pytask.domain.errors import BadDjangoTask

SHOWN = 200  # characters of a name in a message


def task_named(path: str, modules: Sequence[str]) -> Task:
    """The task at `package.module.name`.

    A name may come from anyone who can write to Redis.  So a module is imported only if it belongs to an
    installed app or to `modules`, and nothing but an object that `@task` made is returned.

    Raises:
        BadDjangoTask: It is no such object, or not in such a module.
    """
    module, _, name = path.rpartition(".")
    shown = repr(path[:SHOWN])
    if not module or not all(part.isidentifier() for part in path.split(".")):
        raise BadDjangoTask(f"{shown} is not the name of a task, such as 'shop.tasks.send'")
    if not any(_within(module, one) for one in (*_packages(), *modules)):
        raise BadDjangoTask(
            f"{shown} is in no installed app, so it may not run: add its app to INSTALLED_APPS, or the module"
            f' to the option: TASKS = {{...: {{"OPTIONS": {{"modules": [{module[:SHOWN]!r}]}}}}}}'
        )
    try:
        found = getattr(import_module(module), name, None)
    except ModuleNotFoundError as error:
        if error.name is None or not _within(module, error.name):
            raise
        raise BadDjangoTask(f"{shown} is not in this program: there is no module {error.name!r}") from None
    if found is None:
        raise BadDjangoTask(f"{shown} is not in this program: {module} has no {name!r}")
    if not isinstance(found, Task):
        raise BadDjangoTask(
            f"{shown} is not a task but a {type(found).__name__}: write `@task` of django.tasks above the"
            " function, so that its name in the module is the task"
        )
    return found


def _packages() -> list[str]:
    return [config.name for config in apps.get_app_configs()]


def _within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")
