"""Limits: who holds the slots, and who waits."""

from __future__ import annotations

from typing import Any

import falcon

from pytask.client.limit_records import LimitInfo
from pytask.domain.errors import BadData
from pytask.domain.limits import Kind
from pytask.shown.limits import note_of
from pytask.web.forms import Form
from pytask.web.site import Note, Site

SHOWN = 200


def pages(site: Site) -> dict[str, Any]:
    """The routes."""
    return {"/limits": Limits(site)}


class Limits:
    """The list, with the holders of one."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show it."""
        site = self._site
        found = site.read(("limits",), lambda: site.client.limits.list(limit=SHOWN + 1))
        which = {name: value for name in ("group", "function") if (value := req.get_param(name))}
        one = None
        if len(which) == 1:
            one = site.read(("limit", *which.items()), lambda: site.client.limits.get(**which))
        values = {
            "rows": [_row(info) for info in found[:SHOWN]],
            "more": len(found) > SHOWN,
            "one": None if one is None else _row(one) | {"holders": one.holders, "waiters": one.waiters},
        }
        site.show(req, resp, "limits", values)

    def on_post(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Set a limit, or remove one."""
        form = Form(req)
        kind, name = form.needed("kind"), form.needed("name")
        if kind not in ("group", "function"):
            raise falcon.HTTPBadRequest(description="a limit is one of a group or of a function")
        calls = self._site.acting(req.context.user).limits
        text = form.text("limit").strip()
        try:
            if form.text("verb") == "remove":
                calls.remove(**{kind: name})
                note = Note(f"The limit of {kind} {name} is removed.")
            else:
                calls.set(int(text) if text.isascii() and text.isdigit() else -1, **{kind: name})
                note = Note(f"The limit of {kind} {name} is {text}.")
        except BadData as error:
            note = Note(str(error.args[0]), good=False)
        raise self._site.back(req, "/limits", note)


def _row(info: LimitInfo) -> dict[str, Any]:
    return {
        "kind": "group" if info.kind is Kind.GROUP else "function",
        "name": info.name,
        "limit": info.in_force,
        "live": info.live,
        "waiting": info.waiting,
        "note": note_of(info),
        "own": info.limit is not None or bool(info.invalid),
    }
