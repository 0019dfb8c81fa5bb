"""Joins the pages to one WSGI application."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import falcon

from pytask.client import Client
from pytask.domain.errors import (
    BadData,
    ConfigError,
    Denied,
    NoSuchTask,
    PytaskError,
    TaskRunning,
    Unavailable,
)
from pytask.web.guard import METRICS, Guard, refuse_in_worker
from pytask.web.pages import (
    findings,
    functions,
    limits,
    login,
    overview,
    samples,
    schedules,
    streams,
    task,
    tasks,
    workers,
)
from pytask.web.site import Site, SiteOptions

STATUS: tuple[tuple[type[PytaskError], str], ...] = (
    (NoSuchTask, falcon.HTTP_404),
    (BadData, falcon.HTTP_400),
    (ConfigError, falcon.HTTP_400),
    (TaskRunning, falcon.HTTP_409),
    (Denied, falcon.HTTP_502),
    (Unavailable, falcon.HTTP_503),
    (PytaskError, falcon.HTTP_500),
)


def made(client: Client, options: SiteOptions) -> Callable[..., Iterable[bytes]]:
    """The application.  Raises `InsideWorker`."""
    refuse_in_worker()
    site = Site(client, options)
    app: Any = falcon.App(middleware=[Guard(site)])
    app.req_options.strip_url_path_trailing_slash = False
    app.req_options.keep_blank_qs_values = True
    app.resp_options.secure_cookies_by_default = False  # see login.py: by the address of the request
    for routes in (
        findings,
        functions,
        limits,
        login,
        overview,
        samples,
        schedules,
        streams,
        task,
        tasks,
        workers,
    ):
        for path, resource in routes.pages(site).items():
            app.add_route(path, resource)
    if options.metrics is not None:
        app.add_route(METRICS, Mounted(options.metrics))
    app.add_error_handler(PytaskError, lambda *words: _told(site, *words))
    app.add_error_handler(falcon.HTTPError, lambda *words: _refused(site, *words))
    found: Callable[..., Iterable[bytes]] = app
    return found


class Mounted:
    """Another WSGI application in the place of a page, behind the same guard."""

    def __init__(self, inner: Callable[..., Iterable[bytes]]) -> None:
        self._inner = inner

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Hand the request over."""

        def start(status: str, headers: list[tuple[str, str]], *_error: Any) -> Callable[[bytes], None]:
            resp.status = status
            for name, value in headers:
                if name.lower() != "content-length":
                    resp.set_header(name, value)
            return body.append

        body: list[bytes] = []
        body += self._inner(req.env, start)
        resp.data = b"".join(body)


def _told(
    site: Site, req: falcon.Request, resp: falcon.Response, error: PytaskError, _params: dict[str, Any]
) -> None:
    """An error of pytask as a page: what, why, and the fix."""
    resp.status = next(status for kind, status in STATUS if isinstance(error, kind))
    if isinstance(error, NoSuchTask):
        resp.set_header("HX-Refresh", "true")  # a part of its page: nothing of it is true any more
    _write(site, req, resp, error.code, str(error).partition("] ")[2])


def _refused(
    site: Site, req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError, _params: dict[str, Any]
) -> None:
    resp.status = error.status
    for name, value in (error.headers or {}).items() if isinstance(error.headers, dict) else ():
        resp.set_header(name, value)
    _write(site, req, resp, error.title or "", error.description or "")


def _write(site: Site, req: falcon.Request, resp: falcon.Response, code: str, what: str) -> None:
    values = {"code": code, "what": what, "status": resp.status}
    if req.get_param("part") or req.path == "/live":
        resp.content_type = falcon.MEDIA_TEXT
        resp.text = what  # htmx leaves the part as it was
        return
    site.show(req, resp, "error", values)
