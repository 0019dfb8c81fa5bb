"""Logging in and out."""

from __future__ import annotations

import math
import threading
from typing import Any

import falcon

from pytask.domain.history import escaped
from pytask.domain.wording import counted
from pytask.logger import get_logger
from pytask.web.access import Passwords
from pytask.web.forms import Form
from pytask.web.guard import COOKIE
from pytask.web.site import Note, Site

log = get_logger(__name__)


def pages(site: Site) -> dict[str, Any]:
    """The routes."""
    return {"/login": Login(site), "/logout": Logout(site)}


class Login:
    """The form, where a password file says who may look."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._one = threading.Lock()  # a try takes much memory and time: one after the other

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """The form."""
        self._passwords()
        self._site.show(req, resp, "login", {"fault": ""})

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Check the password."""
        access, site = self._passwords(), self._site
        form = Form(req)
        name, peer = form.text("name").strip(), req.env.get("REMOTE_ADDR", "")
        keys = (name[:64], peer)
        with self._one:
            left = math.ceil(site.throttle.wait(*keys))
            entry = None if left > 0 else access.check(name, form.text("password"))
            if left <= 0 and entry is None:
                site.throttle.failed(*keys)
        if left > 0:
            resp.status = falcon.HTTP_429
            resp.set_header("Retry-After", str(left))
            site.show(req, resp, "login", {"fault": f"too many tries: wait {counted(left, 'second')}"})
        elif entry is None:
            log.warning("the page refused a login as %s, from %s", escaped(name, 48), peer)
            resp.status = falcon.HTTP_401
            site.show(req, resp, "login", {"fault": "no such user, or another password"})
        else:
            site.throttle.passed(*keys)
            token = site.sessions.open(entry.user.name, entry.mark) if site.sessions else ""
            resp.set_cookie(
                COOKIE, token, path=req.root_path or "/", http_only=True, same_site="Lax", secure=_secure(req)
            )
            raise falcon.HTTPSeeOther(f"{req.root_path}/")

    def _passwords(self) -> Passwords:
        access = self._site.options.access
        if not isinstance(access, Passwords):
            raise falcon.HTTPNotFound(description="nobody logs in here")
        return access


class Logout:
    """The button."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """End the login."""
        if self._site.sessions is None:
            raise self._site.back(req, "/", Note("nobody is logged in here"))
        self._site.sessions.close((req.get_cookie_values(COOKIE) or [""])[0])
        resp.unset_cookie(COOKIE, path=req.root_path or "/")
        raise falcon.HTTPSeeOther(f"{req.root_path}/login")


def _secure(req: falcon.Request) -> bool:
    # A proxy that ends TLS tells the scheme of the form's page by its origin.
    return req.scheme == "https" or (req.get_header("Origin") or "").startswith("https://")
