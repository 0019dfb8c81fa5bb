"""A backend for Django's tasks framework (`django.tasks`, Django 6 or newer), and the app of its workers.

In the settings: `TASKS = {"default": {"BACKEND": "pytask.django.PytaskBackend", "OPTIONS": {"url": ...}}}`.
The worker: `DJANGO_SETTINGS_MODULE=mysite.settings pytask run pytask.django.worker`.  See docs/django.md.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pytask.domain.errors import MissingExtra

if TYPE_CHECKING:
    from pytask.django.backend import PytaskBackend as PytaskBackend
    from pytask.django.workers import worker_app as worker_app

__all__ = ["PytaskBackend", "worker_app"]

_HOMES = {"PytaskBackend": "pytask.django.backend", "worker_app": "pytask.django.workers"}


def require() -> None:
    """Raise `MissingExtra` unless Django has the tasks framework."""
    try:
        import django.tasks  # noqa: F401 - whether it is there
    except ImportError as error:
        raise MissingExtra(
            f"tasks of Django need Django 6 or newer, and so Python 3.12 or newer ({error}):"
            " pip install 'pytaskd[django]'"
        ) from None


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        require()
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'pytask.django' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
