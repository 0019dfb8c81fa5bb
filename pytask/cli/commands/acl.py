"""`pytask acl`: access rules for Redis."""

from __future__ import annotations

import click


@click.command()
@click.argument("role", type=click.Choice(["producer", "watcher", "publisher", "operator", "worker"]))
@click.option("--namespace", default="", metavar="TEXT", help="Prefix of every key and channel.")
@click.option(
    "--partitions",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="Number of partitions of the namespace, for Redis Cluster.",
)
def command(role: str, namespace: str, partitions: int) -> None:
    """Print the redis-cli command that creates a least-privilege user for ROLE.

    Replace PASSWORD with a password of your own. docs/security.md lists what each role may do.
    """
    from pytask.adapters.redis.acl import command as line
    from pytask.terminal import out

    out(line(role, namespace, partitions))
