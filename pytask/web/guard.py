"""What every request passes: who asks, from where, and whether a page of another site has made it."""

from __future__ import annotations

import base64
import sys
from typing import Any
from urllib.parse import urlsplit

import falcon

from pytask.domain.errors import InsideWorker
from pytask.domain.history import escaped
from pytask.logger import get_logger
from pytask.web.access import Passwords, Right, User
from pytask.web.site import Site

log = get_logger(__name__)

COOKIE = "pytask_session"
OPEN_PATHS = ("/login", "/static/")  # what is needed before a login
METRICS = "/metrics"
METHODS = ("GET", "HEAD", "POST")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def refuse_in_worker() -> None:
    """Raise `InsideWorker` if a worker runs in this process.

    All greenlets of a process share one loop: rendering for a hundred viewers, or one large page, would
    delay the renewals of all its tasks.
    """
    fork = sys.modules.get("pytask.runtime.process.fork")  # not imported: no worker
    if fork is not None and fork.is_working():
        raise InsideWorker(
            "a worker runs in this process, and the page would share its event loop: slow viewers could delay"
            " the renewals of its tasks. Run the page in a process of its own: `pytask web`, or mount"
            " pytask.web.app(client) in a web server without a worker"
        )


class Guard:
    """A falcon middleware."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._scrapers: dict[str, str] = {}  # what the last scraper sent -> its login
        self._refused = ""  # what the last one sent that was refused

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Refuse what must not reach a page."""
        req.context.user = User("", frozenset())
        refuse_in_worker()
        self._check_host(req)
        if req.method not in METHODS:
            raise falcon.HTTPMethodNotAllowed(METHODS, description="the page uses GET and POST only")
        if req.method == "POST":
            check_origin(req)
        if req.path == "/login" or req.path.startswith("/static/"):
            return
        user = self._user(req)
        if user is None or not user.may(Right.VIEW):
            raise self._asked_to_log_in(req)
        req.context.user = user
        if req.method == "POST" and req.path != "/logout":
            self._check_act(user)

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, _resource: Any, _succeeded: bool
    ) -> None:
        """Headers that every answer has."""
        for name, value in HEADERS.items():
            if resp.get_header(name) is None:
                resp.set_header(name, value)
        if not req.path.startswith("/static/"):
            resp.set_header("Cache-Control", "no-store")

    def _check_host(self, req: falcon.Request) -> None:
        # A name that an attacker points at a loopback address must not show the page to the attacker's site.
        allowed = self._site.options.hosts
        if allowed and req.host.lower() not in allowed:
            raise falcon.HTTPError(
                "421 Misdirected Request",
                title="Misdirected request",
                description=f"the page is not known as {req.host[:80]!r}: start it with --host-name for that",
            )

    def _check_act(self, user: User) -> None:
        if self._site.options.read_only:
            raise falcon.HTTPForbidden(description="this page only shows: it was started with --read-only")
        if not user.may(Right.ACT):
            raise falcon.HTTPForbidden(description=f"{user.name or 'you'} may look, but not act")

    def _user(self, req: falcon.Request) -> User | None:
        access = self._site.options.access
        if access is None:
            return User()
        if isinstance(access, Passwords) and req.path == METRICS:
            return self._scraper(req, access)
        if isinstance(access, Passwords):
            cookies = req.get_cookie_values(COOKIE)
            return self._site.sessions.user(cookies[0]) if cookies and self._site.sessions else None
        return access.user(req.env.get("REMOTE_ADDR", ""), req.get_header(access.header))

    def _scraper(self, req: falcon.Request, access: Passwords) -> User | None:
        """Prometheus fills in no form: it sends the name and the password each time."""
        kind, _, word = (req.auth or "").partition(" ")
        if kind.lower() != "basic" or self._site.sessions is None:
            return None
        try:
            name, _, password = base64.b64decode(word, validate=True).decode().partition(":")
        except ValueError:
            return None
        keys = (name[:64], req.env.get("REMOTE_ADDR", ""))
        if self._site.throttle.wait(*keys) > 0:
            return None
        # Each check of a password takes a moment in which nobody else is answered.
        known = self._site.sessions.user(self._scrapers.get(req.auth or ""))
        if known is not None:
            return known
        entry = access.check(name, password)
        if entry is None:
            log.warning("the page refused a scrape as %s, from %s", escaped(name, 48), keys[1])
            # It sends the same again and again; that must not keep out others at its address.
            self._site.throttle.failed(*keys, again=self._refused == req.auth)
            self._refused = req.auth or ""
            return None
        self._site.throttle.passed(*keys)
        self._scrapers = {req.auth or "": self._site.sessions.open(name, entry.mark)}
        return entry.user

    def _asked_to_log_in(self, req: falcon.Request) -> Exception:
        if req.path == METRICS and self._site.sessions is not None:
            return falcon.HTTPUnauthorized(
                description="send a user's name and password", challenges=['Basic realm="pytask"']
            )
        if self._site.sessions is None:
            return falcon.HTTPUnauthorized(
                description="the proxy has named no user who may look at this page"
            )
        if req.method != "GET" or req.get_header("HX-Request") or req.path == "/live":
            # htmx then loads the whole page, which leads to the login.
            return falcon.HTTPUnauthorized(description="log in first", headers={"HX-Refresh": "true"})
        return falcon.HTTPStatus(falcon.HTTP_303, headers={"Location": f"{req.root_path}/login"})


def check_origin(req: falcon.Request) -> None:
    """Refuse a form that another site has sent.

    A browser tells where a request comes from, and scripts cannot forge it.  A request that tells nothing is
    refused, too: other programs use the client or the command line.
    """
    site, origin = req.get_header("Sec-Fetch-Site"), req.get_header("Origin")
    if site is not None and site != "same-origin":
        raise falcon.HTTPForbidden(description="this form was sent by another site")
    if origin is not None and urlsplit(origin).netloc.lower() != req.netloc.lower():
        raise falcon.HTTPForbidden(description="this form was sent by another site")
    if site is None and origin is None:
        raise falcon.HTTPForbidden(
            description="the request does not tell which site has sent it (Sec-Fetch-Site, Origin)"
        )
