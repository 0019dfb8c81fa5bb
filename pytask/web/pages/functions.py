"""Functions: who knows them, which are paused, for which tasks are parked; and rejected pushes."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

import falcon

from pytask.domain.wording import at
from pytask.shown.overview import rejected
from pytask.web.forms import Form
from pytask.web.site import Note, Site

SHOWN = 200


def pages(site: Site) -> dict[str, Any]:
    """The routes."""
    return {"/functions": Functions(site), "/rejected": Rejected(site)}


class Functions:
    """The list."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show it."""
        found = self._site.functions()
        known = [one.name for one in found if one.workers]
        rows = [
            {
                "name": one.name, "workers": one.workers, "parked": one.parked, "paused": one.paused,
                "near": [] if one.workers else get_close_matches(one.name, known, n=3, cutoff=0.6),
            }
            for one in sorted(found, key=lambda one: (not one.parked, one.name))[:SHOWN]
        ]  # fmt: skip
        count = self._site.count()
        values = {"rows": rows, "more": max(0, len(found) - SHOWN), "all_paused": "*" in count.held}
        self._site.show(req, resp, "functions", values)

    def on_post(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Pause or resume a function."""
        form = Form(req)
        name, verb = form.needed("name"), form.needed("verb")
        client = self._site.acting(req.context.user)
        which = "all functions" if name == "*" else name
        if verb == "pause":
            done = client.pause_functions([name])
            note = Note(f"{which}: paused. Running tasks go on." if done else f"{which}: paused already.")
        elif verb == "resume":
            done = client.resume_functions([name])
            note = Note(f"{which}: resumed." if done else f"{which}: was not paused.")
        else:
            raise falcon.HTTPBadRequest(description="actions are pause and resume")
        raise self._site.back(req, "/functions", note)


class Rejected:
    """Pushed ids that could not be tasks."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show them."""
        found = self._site.read(("rejected",), lambda: self._site.run(rejected), 2.0)
        rows = [{"id": one.id, "reason": one.reason, "at": at(one.at)} for one in found[:SHOWN]]
        self._site.show(req, resp, "rejected", {"rows": rows, "number": len(found)})
