"""A task in a module of no installed app."""

from django.tasks import task


@task
def outside():
    return "ran"
