"""`"pytask.django"` in INSTALLED_APPS: `manage.py check` then looks at TASKS in every site."""

from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig


class PytaskConfig(AppConfig):
    """Has neither models nor tasks."""

    name = "pytask.django"
    label = "pytask"
    verbose_name = "pytask"

    def ready(self) -> None:
        """Django knows its check of TASKS from the moment at which `django.tasks` is imported."""
        import_module("django.tasks")
