"""`pytask web`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pytask.cli import options

if TYPE_CHECKING:
    from pytask.cli.connection import Remote
    from pytask.client import Client
    from pytask.web.access import Access

PORT = 8321


@click.command()
@click.option(
    "--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Address to listen on."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=PORT,
    show_default=True,
    metavar="N",
    help="Port to listen on; 0 takes a free one.",
)
@click.option(
    "--auth",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Users log in with a password of this file; see --add-user.",
)
@click.option(
    "--auth-header",
    metavar="NAME",
    help="A proxy logs users in, and names them in this header, such as X-Forwarded-User.",
)
@click.option(
    "--proxy",
    "peers",
    multiple=True,
    metavar="ADDRESS",
    help="With --auth-header: the address or network of the proxy; may be repeated.  [default: loopback]",
)
@click.option(
    "--rights",
    default="view,act,payloads",
    show_default=True,
    metavar="LIST",
    help="With --auth-header or --add-user: view, act (stop, start, ...), payloads (data, outputs, logs).",
)
@click.option(
    "--host-name",
    "names",
    multiple=True,
    metavar="NAME",
    help="A name under which the page is reached; others are refused. May be repeated.",
)
@click.option("--read-only", is_flag=True, help="Refuse every action.")
@click.option(
    "--add-user",
    metavar="NAME",
    help="Add a user to the file of --auth, or change one, and exit. Asks for the password.",
)
@options.settings_of
def command(
    host: str,
    port: int,
    auth: Path | None,
    auth_header: str | None,
    peers: tuple[str, ...],
    rights: str,
    names: tuple[str, ...],
    read_only: bool,
    add_user: str | None,
    remote: Remote,
) -> None:
    """Serve the page: see and steer tasks in a browser.

    Without --auth or --auth-header everyone who reaches the page may do everything, so it listens on loopback
    only. Actions are recorded in the history of the tasks with the name of the user. Needs pytaskd[web].
    """
    if add_user is not None:
        _add(auth, add_user, rights)
        return
    from pytask.runtime.process.patched import patch

    patch({})
    from pytask.metrics import wsgi
    from pytask.terminal import out
    from pytask.web import app
    from pytask.web.server import check_open, known_hosts, serve

    access = _access(auth, auth_header, peers, rights)
    check_open(host, access)
    client = _client(remote)
    made = app(
        client,
        access=access,
        read_only=read_only,
        hosts=known_hosts(host, names, access),
        findings=lambda: _findings(remote),
        metrics=wsgi.app(client.metrics),
    )
    serve(made, host, port, lambda address: out(f"pytask web: {address}"))


def _access(auth: Path | None, header: str | None, peers: tuple[str, ...], rights: str) -> Access | None:
    if auth is not None and header is not None:
        raise click.UsageError("--auth and --auth-header cannot be combined: either we log in, or the proxy")
    if header is None and peers:
        raise click.UsageError("--proxy needs --auth-header")
    from pytask.web.access import Passwords, Proxy, rights_of

    if auth is not None:
        return Passwords(auth)
    if header is None:
        return None
    more: dict[str, Any] = {"peers": peers} if peers else {}
    return Proxy(header, rights_of(rights), **more)


def _client(remote: Remote) -> Client:
    """A client with more patience than a command, unless the setting says otherwise."""
    from pytask.client import Client
    from pytask.client.partitions import CONNECT_TIMEOUT, TIMEOUT
    from pytask.client.sync_driver import SyncDriver

    given = remote.setting("timeout").given
    limits = remote.timeouts if given else (TIMEOUT, CONNECT_TIMEOUT)
    return Client.over(SyncDriver(remote.client, remote.partitions, *limits), remote.partitions)


def _findings(remote: Remote) -> list[Any]:
    from pytask.cli.commands.doctor import findings_of

    return findings_of(remote)


def _password() -> str:
    """Asked for twice on a terminal; elsewhere the first line of standard input."""
    import sys

    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    found: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return found


def _add(auth: Path | None, name: str, rights: str) -> None:
    if auth is None:
        raise click.UsageError("--add-user needs --auth FILE, which it creates if need be")
    from pytask.terminal import say
    from pytask.web.access import rights_of, with_user

    wanted = rights_of(rights)
    with_user(auth, name, wanted, _password())
    say(f"{auth} has the user {name}, who may {', '.join(sorted(wanted))}")
