"""`pytask acl`: access rules for Redis."""

from __future__ import annotations

import click


@click.command()
@click.argument("role", type=click.Choice(["producer", "watcher", "publisher", "operator", "worker"]))
@click.option("--namespace", default="", metavar="TEXT", help="In front of every key and channel.")
@click.option(
    "--partitions",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="Parts of the namespace, for a cluster: each has keys of its own.",
)
def command(role: str, namespace: str, partitions: int) -> None:
    """Print the line for redis-cli that makes a user of least privilege for ROLE.

    Put a password of your own in place of PASSWORD. docs/security.md says what each role may do.
    """
    from pytask.adapters.redis.acl import command as line
    from pytask.terminal import out

    out(line(role, namespace, partitions))
