"""The page: a WSGI application that shows and steers the tasks that a client reaches.

It is for a process of its own (`pytask web`), or for a web server that runs WSGI applications; in the process
of a worker it refuses to answer (PT198).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pytask.domain.errors import MissingExtra

if TYPE_CHECKING:
    from pytask.client import Client
    from pytask.web.access import Access
    from pytask.web.site import Findings, Wsgi

__all__ = ["app"]


def require() -> None:
    """Raise `MissingExtra` if the packages of the page are not installed."""
    try:
        import falcon  # noqa: F401
        import jinja2  # noqa: F401
    except ImportError as error:
        raise MissingExtra(f"the page needs the package {error.name!r}: pip install 'pytaskd[web]'") from None


def app(  # noqa: PLR0913 - the options
    client: Client,
    *,
    access: Access | None = None,
    read_only: bool = False,
    hosts: Sequence[str] = (),
    findings: Findings | None = None,
    metrics: Wsgi | None = None,
) -> Callable[..., Any]:
    """The WSGI application.

    Args:
        client: What it reads and steers with.  Actions are recorded with the name of the user who was logged
            in, else with the name of this client.
        access: Who may do what: `pytask.web.access.Passwords` or `Proxy`.  By default everyone who reaches it
            may do everything, so mount it where only the right people reach it.
        read_only: Refuse every action.
        hosts: The names under which it may be reached, such as "tasks.example.com"; others are refused.
            Without any, all are accepted.
        findings: Called for the page of findings; `pytask web` gives what `pytask doctor` finds.
        metrics: A WSGI application that answers `/metrics`.

    Raises:
        MissingExtra: falcon or jinja2 is not installed.
        InsideWorker: A worker runs in this process.
    """
    require()
    from pytask.web.application import made
    from pytask.web.site import SiteOptions

    options = SiteOptions(
        access=access, read_only=read_only, hosts=tuple(hosts), findings=findings, metrics=metrics
    )
    return made(client, options)
