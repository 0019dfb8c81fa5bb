"""The list of tasks, and actions on many of them."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import attrs
import falcon

from pytask.domain.errors import BadData, NoSuchTask
from pytask.domain.lifecycle import State
from pytask.shown.rows import task_row
from pytask.shown.selection import pages_of_ids
from pytask.web.forms import Form
from pytask.web.site import Chosen, Note, Site, local_path
from pytask.web.text import shown
from pytask.web.verbs import VERBS, Verb, carried_out

ROWS = 50
MOST_ROWS = 500
MOST = 10_000  # tasks of one action
MOST_PAGES = 40  # of a list that is looked through for them: 400,000 tasks
FOUND = 20  # ids that begin with what was searched


def pages(site: Site) -> dict[str, Any]:
    """The routes."""
    return {"/tasks": Tasks(site), "/tasks/choose": Choose(site), "/tasks/act": Act(site)}


@attrs.frozen
class Filter:
    """What a list shows."""

    states: tuple[State, ...]
    function: str | None
    worker: str | None

    @classmethod
    def of(cls, get: Any) -> Filter:
        """The filter of an address or of a form; `get(name)` gives all values of a field."""
        words = [word.upper() for word in get("state")]
        states = tuple(state for state in State if state in words)
        first = {name: next((one for one in get(name) if one), None) for name in ("function", "worker")}
        return cls(states, **first)

    def given(self) -> dict[str, Any]:
        """As parameters of the client."""
        return {"state": self.states or None, "function": self.function, "worker": self.worker}

    def params(self) -> dict[str, Any]:
        """As parameters of an address."""
        return {
            "state": [str(state) for state in self.states],
            "function": self.function,
            "worker": self.worker,
        }


def _filter_of(req: falcon.Request) -> Filter:
    return Filter.of(lambda name: req.get_param_as_list(name) or [])


class Tasks:
    """The list."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show a page of it."""
        site, wanted = self._site, _filter_of(req)
        limit = min(max(1, req.get_param_as_int("limit") or ROWS), MOST_ROWS)
        cursor = req.get_param("cursor") or None
        find = (req.get_param("id") or "").strip()
        key = ("tasks", wanted, limit, cursor, find)
        rows, following, whole = site.read(key, lambda: self._page(wanted, limit, cursor, find))
        values = {
            "rows": rows,
            "find": find,
            "whole": whole,
            "filter": wanted.params(),
            "limit": limit,
            "cursor": cursor,
            "next": following,
            "states": [str(state) for state in State],
            "count": site.count(),
            "functions": self._names(),
            "verbs": VERBS.values(),
        }
        site.show(req, resp, "tasks", values)

    def _names(self) -> list[str]:
        """Functions to choose from; none that would show as another one."""
        return [one.name for one in self._site.functions() if shown(one.name) == one.name]

    def _page(
        self, wanted: Filter, limit: int, cursor: str | None, find: str
    ) -> tuple[list[dict[str, Any]], str | None, bool]:
        """The rows, where the next page begins, and whether all ids were searched."""
        client = self._site.client
        if not find:
            page = self._site.page(**wanted.given(), limit=limit, cursor=cursor)
            return [*map(task_row, page)], page.cursor, True
        ids, whole = client.find(find, limit=FOUND)
        found = []
        for task_id in dict.fromkeys([find, *ids]):
            with suppress(NoSuchTask, BadData):
                found.append(task_row(client.get(task_id)))
        return found, None, whole


class Choose:
    """The question before an action on many: how many, and which."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Count them, and ask."""
        form = Form(req)
        verb = _verb(form)
        back = local_path(form.text("back") or "/tasks")
        if form.text("which") == "all":
            ids, more = self._all(verb, Filter.of(form.texts))
        else:
            ids, more = list(dict.fromkeys(form.texts("task")))[:MOST], False
        if not ids:
            raise self._site.back(
                req,
                back,
                Note(f"No task to {verb.name}: select some, or choose all of the list.", good=False),
            )
        token = self._site.chosen.put(Chosen(verb.name, tuple(ids), back))
        values = {
            "verb": verb,
            "ids": ids[:20],
            "number": len(ids),
            "more": more,
            "token": token,
            "back": back,
        }
        self._site.show(req, resp, "confirm", values)

    def _all(self, verb: Verb, wanted: Filter) -> tuple[list[str], bool]:
        """All of the list to which the action applies, up to 10,000, and whether there are more."""
        states = [state for state in verb.states if not wanted.states or state in wanted.states]
        if not states:
            return [], False
        wide = {"function": wanted.function, "worker": wanted.worker}
        found: dict[str, None] = {}
        for number, ids in enumerate(pages_of_ids(self._site.client, state=states, **wide), 1):
            found.update(dict.fromkeys(ids))
            if len(found) > MOST or number >= MOST_PAGES:
                return list(found)[:MOST], True
        return list(found), False


class Act:
    """The action, once it was confirmed."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def on_post(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Do it to the tasks that were counted, and to no others."""
        chosen = self._site.chosen.take(Form(req).text("token"))
        if chosen is None:
            raise self._site.back(
                req, "/tasks", Note("This selection is no longer known: select the tasks again.", good=False)
            )
        client = self._site.acting(req.context.user)
        raise self._site.back(req, chosen.back, carried_out(VERBS[chosen.verb], client, chosen.ids))


def _verb(form: Form) -> Verb:
    found = VERBS.get(form.text("verb"))
    if found is None:
        raise falcon.HTTPBadRequest(description=f"actions are {', '.join(VERBS)}")
    return found
