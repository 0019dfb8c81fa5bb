"""One task: its story, its life, its owners, its data, and the actions on it."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from contextlib import suppress
from typing import Any

import attrs
import falcon

from pytask import codec
from pytask.client import Client
from pytask.client.records import Event, Outcome, Worker
from pytask.client.task_records import TaskInfo
from pytask.domain import lifecycle as life
from pytask.domain import secrets
from pytask.domain.errors import (
    BadData,
    Denied,
    NoSuchTask,
    PytaskError,
    TaskNotRunning,
    TimedOut,
    WrongKeyType,
)
from pytask.domain.facts import Facts
from pytask.domain.history import Transition
from pytask.domain.reasons import Account
from pytask.domain.transition_text import phrase_of
from pytask.domain.wording import ago, at
from pytask.logger import get_logger
from pytask.shown import facts as facts_read
from pytask.shown import rows
from pytask.shown.data_checks import parsed
from pytask.shown.secrets import fields_in, masked_text
from pytask.web.access import Right
from pytask.web.drawing import lifecycle, timeline
from pytask.web.forms import Form
from pytask.web.site import Note, Site
from pytask.web.text import pretty
from pytask.web.verbs import VERBS, carried_out

log = get_logger(__name__)

LINES = 200  # of the log
EDITABLE = 200_000  # bytes of data that the page offers for editing
ANSWER = 4.0  # seconds to wait for what a worker says


def pages(site: Site) -> dict[str, Any]:
    """The routes."""
    return {"/task": Task(site)}


def masked(site: Site, task: TaskInfo) -> TaskInfo:
    """The task with the secret fields of its data masked."""
    fields = secret_fields(site, task.function)
    return attrs.evolve(
        task,
        raw_data=masked_text(task.raw_data, fields),
        raw_output=masked_text(task.raw_output, fields),
        raw_saved=masked_text(task.raw_saved, fields),
        raw_rejected=masked_text(task.raw_rejected, fields),
    )


def secret_fields(site: Site, function: str) -> tuple[str, ...]:
    """The fields that its class declares secret."""
    try:
        return fields_in(site.workers(), function)
    except Denied:  # without the right to read the workers, they are unknown
        return ()


class Task:
    """The page of a task, and its buttons."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show it."""
        self._show(req, resp, req.get_param("id", required=True))

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Do what a button says."""
        task_id, form = req.get_param("id", required=True), Form(req)
        verb = form.needed("verb")
        client = self._site.acting(req.context.user)
        here = f"/task?{_query(task_id)}"
        if verb == "data":
            self._change(req, resp, client, task_id, form)
            return
        if verb == "stacks":
            try:
                found = client.stacks(task_id, wait=ANSWER)
            except (TaskNotRunning, TimedOut) as error:
                raise self._site.back(req, here, Note(str(error), good=False)) from None
            self._show(req, resp, task_id, stacks=found)
            return
        if verb not in VERBS:
            raise falcon.HTTPBadRequest(description=f"actions are data, stacks, {', '.join(VERBS)}")
        if verb == "requeue" and client.get(task_id).state is life.RUNNING:
            raise self._site.back(req, here, _requeued(client, task_id))
        if verb == "delete":
            if form.text("sure") != "yes":
                raise self._site.back(req, here, Note("Tick the box to delete the task.", good=False))
            note = carried_out(VERBS[verb], client, [task_id])
            raise self._site.back(req, "/tasks" if note.good else here, note)
        raise self._site.back(req, here, carried_out(VERBS[verb], client, [task_id]))

    # -- showing --------------------------------------------------------------------------------------

    def _show(self, req: falcon.Request, resp: falcon.Response, task_id: str, **more: Any) -> None:
        """`more`: what was asked for, `stacks`; or a `draft` of its data, with the `fault` in it."""
        site, part = self._site, req.get_param("part")
        task = site.task(task_id)
        sees = site.may(req.context.user, Right.PAYLOADS)
        if part in ("payloads", "editor") and not sees:
            raise falcon.HTTPForbidden(description="you may not see data, outputs and saved values")
        values: dict[str, Any] = {"task": task, "row": rows.task_row(task)}
        values |= {"draft": None, "fault": "", "stacks": None} | more
        if part in (None, "story", "buttons", "history"):
            told = site.read(("told", task_id), lambda: self._told(task), 0.5)
            values |= told if sees else _without_quotes(told)
        if part in (None, "payloads", "editor"):
            values |= site.read(("payloads", task_id), lambda: _payloads(site, task), 0.5) if sees else {}
        if part in (None, "log"):
            values["lines"] = self._lines(task_id) if sees else []
        if part in (None, "events"):
            values["events"] = self._events(task) if sees else []
        site.show(req, resp, "task", values)

    def _told(self, task: TaskInfo) -> dict[str, Any]:
        site = self._site
        account: Account | None = None
        facts: Facts | None = None
        # Without the right to read the related keys, the hash alone is shown.
        with suppress(Denied, WrongKeyType):
            sessions = site.workers()
            account, facts = site.run(lambda partitions: facts_read.told(partitions, task, sessions))
        now = time.time() if facts is None else facts.now
        due = rows.due_of(task)
        return {
            "story": None if account is None else account.story,
            "notes": () if account is None else [str(note) for note in account.notes],
            "renewed": None if facts is None or task.state is not life.RUNNING else facts.renewed,
            "renewed_text": None if facts is None else ago(facts.renewed),
            "due": None if due is None else at(due),
            "due_text": None if due is None else ago(max(0.0, due - now)),
            "picture": lifecycle(task.state, paused=bool(task.paused)),
            "timeline": timeline(task.history, now),
            "moves": [_move(move) for move in reversed(task.history)],
            "updated": at(task.last_update),
            "owner": _owner(site.workers(), task),
            "progress_at": None if task.progress is None else rows.since(task.progress.at),
        }

    def _events(self, task: TaskInfo) -> list[Event]:
        """Its last events, newest first, without the secret fields of its class."""
        fields, found = secret_fields(self._site, task.function), self._site.hub.events_of(task.id)
        return [attrs.evolve(one, data=secrets.masked(one.data, fields)) for one in found]

    def _lines(self, task_id: str) -> list[dict[str, str]]:
        site = self._site
        try:
            found = site.read(("log", task_id), lambda: list(site.client.logs(task_id, limit=LINES)), 0.5)
        except NoSuchTask:
            return []
        return [
            {"at": str(at(line.at, millis=True))[11:], "level": line.level, "text": line.text,
             "missed": f"{line.missed} lines are no longer kept" if line.missed else ""}
            for line in found
        ]  # fmt: skip

    # -- new data -------------------------------------------------------------------------------------

    def _change(
        self, req: falcon.Request, resp: falcon.Response, client: Client, task_id: str, form: Form
    ) -> None:
        """Write new data, and reload where it runs; what does not fit is shown again with the reason."""
        site = self._site
        if not site.may(req.context.user, Right.PAYLOADS):
            raise falcon.HTTPForbidden(description="you may not see data, so you may not change it")
        draft = form.text("data")
        task = client.get(task_id)
        try:
            value = self._checked(task, draft, form.text("mark"))
            note = _reloaded(client, task, value)
        except BadData as error:
            site.cache.clear()
            resp.status = falcon.HTTP_422
            self._show(req, resp, task_id, draft=draft, fault=str(error.args[0]))
            return
        raise site.back(req, f"/task?{_query(task_id)}", note)

    def _checked(self, task: TaskInfo, draft: str, mark: str) -> Any:
        """The edited data, with the secrets that were masked.  Raises `BadData`."""
        if mark != _mark(task.raw_data):
            raise BadData("the data has changed since you began: compare, and send yours again")
        try:
            value = parsed(draft, "the data") if draft.strip() else None
        except ValueError as error:
            raise BadData(f"no JSON: {error}") from None
        except RecursionError:
            raise BadData("no JSON: it is nested too deeply") from None
        if not isinstance(value, dict):
            raise BadData('the data of a task is a JSON object, such as {"interval": 2}')
        with suppress(ValueError):  # what is there may be no JSON
            fields = secret_fields(self._site, task.function)
            value = secrets.unmasked(value, task.data, fields)
        mask = secrets.MASK.encode()
        if mask in json.dumps(value).encode() and mask not in (task.raw_data or b""):
            raise BadData(
                f"{secrets.MASK} stands for a secret that is not in its place any more: write it again"
            )
        return value


def _reloaded(client: Client, task: TaskInfo, value: Any) -> Note:
    if task.state is not life.RUNNING:
        client.update_data(task.id, value)
        return Note("The data is stored. The task does not run: its next run has it.")
    try:
        found = client.reload(task.id, value, wait=ANSWER)
    except TimedOut:
        return Note("The data is stored, and the reload is requested; its worker has not answered yet.")
    except TaskNotRunning as error:
        return Note(f"The data is stored; {error.args[0]}.", good=False)
    return _answered(found)


def _answered(found: Outcome) -> Note:
    if found.refusal is not None:
        raise BadData(f"the task does not take it: {found.refusal.path}: {found.refusal.reason}")
    if found.rolled_back is not None:
        raise BadData(f"the task failed with it, and has its old data again: {found.rolled_back.reason}")
    how = "in place" if found.in_place else "with a new run"
    return Note(f"The task has taken its new data {how}." if found.done else "The data is stored.")


def _requeued(client: Client, task_id: str) -> Note:
    """Take a run from a dead worker: its lease is observed for 90 s, longer than a browser waits."""

    def watch() -> None:
        try:
            client.requeue(task_id)
        except PytaskError as error:
            log.warning("requeue of %s: %s", task_id, error)

    threading.Thread(target=watch, name="pytask web requeue", daemon=True).start()
    return Note(
        "It is RUNNING: its lease is observed for 90 s, as a monitor does. If it is not renewed in that time,"
        " the task is queued again."
    )


def _without_quotes(told: dict[str, Any]) -> dict[str, Any]:
    """What is told to those who may not see data: its errors do not quote any."""
    hidden = codec.without_quotes
    return told | {
        "story": told["story"] and hidden(told["story"]),
        "notes": [hidden(note) for note in told["notes"]],
        "moves": [move | {"why": move["why"] and hidden(move["why"])} for move in told["moves"]],
    }


def _move(move: Transition) -> dict[str, Any]:
    phrase = phrase_of(move)
    return {
        "at": at(move.at), "ago": rows.since(move.at), "state": move.target, "what": phrase.what,
        "why": phrase.why, "who": move.who,
    }  # fmt: skip


def _owner(workers: list[Worker], task: TaskInfo) -> dict[str, Any] | None:
    """What the worker of its run says of it."""
    found = next((one for one in workers if task.session and one.session == task.session), None)
    if found is None:
        return None
    busy = next((one for one in found.busiest if one.id == task.id), None)
    return {
        "name": found.name, "host": found.host, "pid": found.pid, "alive": found.alive,
        "silent": ago(found.silent),
        "kept_by": found.kept_by.get(task.id), "at_gate": found.pausing.get(task.id),
        "stuck": task.id in found.stuck, "busy": None if busy is None else f"{busy.share:.0%}",
        "logs": found.task_logs,
    }  # fmt: skip


def _payloads(site: Site, whole: TaskInfo) -> dict[str, Any]:
    task = masked(site, whole)
    return {
        "mark": _mark(whole.raw_data),
        "data": pretty(task.raw_data),
        "editable": len(task.raw_data or b"") <= EDITABLE,
        "output": pretty(task.raw_output),
        "saved": pretty(task.raw_saved),
        "saved_at": rows.since(task.saved_at),
        "rejected": pretty(task.raw_rejected),
    }


def _mark(raw: bytes | None) -> str:
    """Changes with the data: who edits an older one is told so."""
    return hashlib.sha256(raw or b"").hexdigest()[:16]


def _query(task_id: str) -> str:
    from urllib.parse import quote

    return f"id={quote(task_id, safe='')}"
