"""Schedules: when they are due in words, the next times, and what became of past ones."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

import falcon

from pytask.client.schedule_records import ScheduleInfo
from pytask.domain.wording import ago
from pytask.shown.schedules import NEXT, moment_text, result_text, state_of
from pytask.shown.secrets import masked_text
from pytask.web.access import Right
from pytask.web.forms import Form
from pytask.web.pages.task import secret_fields
from pytask.web.site import Note, Site
from pytask.web.text import pretty

SHOWN = 500
PAST = 20


def pages(site: Site) -> dict[str, Any]:
    """The routes."""
    return {"/schedules": Schedules(site), "/schedule": Schedule(site)}


class Schedules:
    """The list."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show it."""
        found = self._site.read(("schedules",), lambda: self._site.client.schedules.list(limit=SHOWN + 1))
        values = {"rows": [_row(one) for one in found[:SHOWN]], "more": len(found) > SHOWN}
        self._site.show(req, resp, "schedules", values)


class Schedule:
    """One, and its buttons."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show it."""
        name = req.get_param("name", required=True)
        found = self._site.client.schedules.get(name)
        now = time.time()
        sees = self._site.may(req.context.user, Right.PAYLOADS)
        values = {
            "one": _row(found),
            "info": found,
            "coming": [moment_text(moment, found.tz, now) for moment in found.upcoming(NEXT, now)],
            "past": [result_text(one, found.tz) for one in found.occurrences[:PAST]],
            "data": pretty(masked_text(found.raw_data, secret_fields(self._site, found.function)))
            if sees
            else "",
        }
        self._site.show(req, resp, "schedule", values)

    def on_post(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Pause, resume or remove it."""
        name, form = req.get_param("name", required=True), Form(req)
        calls = self._site.acting(req.context.user).schedules
        here = f"/schedule?name={quote(name, safe='', errors='surrogateescape')}"
        verb = form.needed("verb")
        if verb == "pause":
            note = Note(
                "It is paused: its times are skipped." if calls.pause(name) else "It was paused already."
            )
        elif verb == "resume":
            note = Note("It goes on with its next time." if calls.resume(name) else "It was not paused.")
        elif verb == "remove" and form.text("sure") == "yes":
            calls.remove(name)
            here, note = "/schedules", Note(f"The schedule {name} is removed; its task is kept.")
        elif verb == "remove":
            note = Note("Tick the box to remove the schedule.", good=False)
        else:
            raise falcon.HTTPBadRequest(description="actions are pause, resume, remove")
        raise self._site.back(req, here, note)


def _row(found: ScheduleInfo) -> dict[str, Any]:
    now = time.time()
    return {
        "name": found.name,
        "function": found.function,
        "when": found.words,
        "next": "" if found.next is None else f"in {ago(max(0.0, found.next - now))}",
        "last": "" if found.last is None else f"{ago(now - found.last)} ago",
        "last_id": found.last_id,
        "fires": found.fires,
        "state": state_of(found),
        "error": found.error,
        "origin": found.origin or "by hand",
    }
