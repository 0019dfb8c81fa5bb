"""What `pytask run pytask.django.worker` runs: the tasks of the backend in Django's settings."""

from __future__ import annotations

from pytask.django import worker_app

app = worker_app()
