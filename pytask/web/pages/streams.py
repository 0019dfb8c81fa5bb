"""The stream of changes, the files of the page, and texts as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import falcon

from pytask.web.access import Right
from pytask.web.site import FOLDER, Site

TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}


def pages(site: Site) -> dict[str, Any]:
    """The routes."""
    return {"/live": Live(site), "/static/{name}": Static(), "/raw": Raw(site)}


class Live:
    """Server-sent events: the names of the topics that have changed."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Join the viewers."""
        topics = (req.get_param("topics") or "").split()
        task = req.get_param("id") or None
        viewer = self._site.hub.join(topics, task)
        if viewer is None:
            raise falcon.HTTPServiceUnavailable(description="too many viewers", retry_after=60)
        resp.content_type = "text/event-stream"
        resp.set_header("X-Accel-Buffering", "no")  # nginx would keep the names back
        resp.stream = self._site.hub.stream(viewer)


class Static:
    """Scripts and styles of the package; there are no others."""

    def __init__(self) -> None:
        places = (FOLDER / "static", FOLDER / "static" / "vendor")
        self._files: dict[str, Path] = {
            path.name: path for place in places for path in place.iterdir() if path.suffix in TYPES
        }

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """One file."""
        path = self._files.get(name)
        if path is None:
            raise falcon.HTTPNotFound(description="there is no such file")
        resp.content_type = TYPES[path.suffix]
        resp.data = path.read_bytes()
        # The address has the release, so that a new one is seen at once.
        resp.set_header("Cache-Control", "max-age=86400" if req.get_param("v") else "no-cache")


class Raw:
    """Data, output, saved value or error of a task as a file: all of it, however long."""

    FIELDS = ("data", "output", "saved", "rejected", "error")

    def __init__(self, site: Site) -> None:
        self._site = site

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """One field."""
        from pytask.web.pages.task import masked

        field = req.get_param("field", required=True)
        if field not in self.FIELDS:
            raise falcon.HTTPBadRequest(description=f"fields are {', '.join(self.FIELDS)}")
        if not self._site.may(req.context.user, Right.PAYLOADS):
            raise falcon.HTTPForbidden(description="you may not see data")
        found = masked(self._site, self._site.client.get(req.get_param("id", required=True)))
        value = found.error.encode() if field == "error" else getattr(found, f"raw_{field}")
        resp.content_type = "text/plain; charset=utf-8"
        resp.set_header("Content-Disposition", f'attachment; filename="{field}.txt"')
        resp.data = value or b""
