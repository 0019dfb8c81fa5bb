"""What the tools of `pytask mcp` answer: what the verbs of the same names read, within bounds."""

from __future__ import annotations

import json
from typing import Any

import click

from pytask import codec
from pytask.cli.commands import doctor, logs, show, status, why
from pytask.cli.connection import Remote
from pytask.cli.selection import state_named
from pytask.domain.errors import BadData

LARGEST = 20_000  # characters of one payload, or of another text
MANY = 500  # tasks, or log lines, of one answer
ENTRIES = 100  # findings, and members of an object
PAYLOADS = ("data", "output", "saved", "rejected", "more")  # members of a task; `more`: unknown fields
NOT_SHOWN = "payloads are not shown: start `pytask mcp --payloads` to see them"


class Tools:
    """The tools; the first paragraph of each tells the client what it does."""

    def __init__(self, remote: Remote, *, payloads: bool) -> None:
        self._remote = remote
        self._payloads = payloads

    def ls(
        self,
        state: str | None = None,
        function: str | None = None,
        worker: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> dict[str, Any]:
        """List tasks: running, waiting, failed, stopped, ended; newest first within each state. `state` is
        RUNNING, WAIT, ERROR, STOPPED or ENDED. `limit` is at most 500. If `cursor` is not null, more tasks
        follow: pass it to read on. `remaining` is their number, if known.
        """
        from pytask.shown.rows import task_row

        wanted = None if state is None else _state(state)
        size = min(max(1, limit), MANY)
        found = self._remote.tasks.list(
            state=wanted, function=function, worker=worker, limit=size, cursor=cursor
        )
        remaining = None
        if cursor is None and function is None and worker is None:
            count = self._remote.tasks.count()
            remaining = max(0, (count.total if wanted is None else count[wanted]) - len(found))
        rows = [self._public(task_row(task)) for task in found]
        return {"tasks": rows, "cursor": found.cursor, "remaining": remaining}

    def show(self, id: str) -> dict[str, Any]:  # noqa: A002 - what the verb calls it
        """Show one task: its state, why it is in it, its last error and its last transitions. `id` may be a
        unique prefix of an id.
        """
        task = show.masked(self._remote, self._remote.tasks.get(self._found(id)))
        fields = show.fields(task, show.account(self._remote, task))
        if self._payloads:
            return self._each(fields)
        fields = self._each({name: value for name, value in fields.items() if name not in PAYLOADS})
        return fields | {"payloads": NOT_SHOWN}

    def why(self, id: str) -> dict[str, Any]:  # noqa: A002
        """Explain why a task is in its state: what happened to it and what it waits for. `id` may be a unique
        prefix of an id.
        """
        return self._each(why.read(self._remote, self._found(id)))

    def logs(self, id: str, lines: int = 100) -> dict[str, Any]:  # noqa: A002
        """The newest log lines and the progress of a task, the oldest first. `lines` is at most 500;
        `number` and `missed` tell what is before them. `id` may be a unique prefix of an id.
        """
        whole = logs.find(self._remote, _named(id))
        size = min(max(1, lines), MANY)
        found = [logs.row(whole, line) for line in self._remote.tasks.logs(whole, limit=size)]
        answer = {
            "lines": [
                self._each({name: value for name, value in row.items() if self._payloads or name != "text"})
                for row in found
            ],
            "none_because": None if found else logs.why_none(self._remote, whole),
        }
        return answer if self._payloads else answer | {"payloads": NOT_SHOWN}

    def status(self) -> dict[str, Any]:
        """Task counts by state, workers, and the state of Redis."""
        from pytask.cli.fleet import read_fleet

        found = status.fields(read_fleet(self._remote), self._remote.setting("redis_url").shown)
        return self._each(found)

    def doctor(self) -> dict[str, Any]:
        """Diagnose current and upcoming problems of the deployment, with the fix for each. It changes
        nothing.
        """
        rows = doctor.rows(doctor.findings_of(self._remote))
        shown = [self._each(row) for row in rows[:ENTRIES]]
        healthy = not any(row["serious"] for row in rows)
        return {"findings": shown, "more": len(rows) - len(shown), "healthy": healthy}

    def _found(self, beginning: str) -> str:
        return self._remote.find(_named(beginning))

    def _public(self, row: dict[str, Any]) -> dict[str, Any]:
        return self._each({name: value for name, value in row.items() if name[0] != "_"})

    def _each(self, row: dict[str, Any]) -> dict[str, Any]:
        """The members within bounds; without payloads, errors do not quote any either."""
        return {
            name: _bounded(value if self._payloads else _without_quotes(value)) for name, value in row.items()
        }


def _named(word: str) -> str:
    if not word:
        raise BadData("an id must not be empty: give an id, or the beginning of one")
    try:
        word.encode()
    except UnicodeEncodeError:
        raise BadData("an id must be UTF-8") from None
    return word


def _state(word: str) -> str:
    try:
        return state_named(word)
    except click.BadParameter as error:
        raise BadData(str(error)) from None


def _without_quotes(value: Any) -> Any:
    if isinstance(value, str):
        return codec.without_quotes(value)
    if isinstance(value, list | tuple):
        return [_without_quotes(one) for one in value]
    if isinstance(value, dict):
        return {name: _without_quotes(one) for name, one in value.items()}
    return value


def _bounded(value: Any) -> Any:
    """The value, or as much of it as an answer should have, and how much is left out."""
    try:
        return _cut(value)
    except RecursionError:
        return "(nested too deeply to be shown)"


def _cut(value: Any) -> Any:
    if isinstance(value, str):
        left = len(value) - LARGEST
        return value if left <= 0 else f"{value[:LARGEST]}... ({left} more characters)"
    if isinstance(value, list | tuple):
        left = len(value) - ENTRIES
        return _small([*map(_cut, value[:ENTRIES]), *([f"({left} more)"] if left > 0 else [])])
    if isinstance(value, dict):
        left = len(value) - ENTRIES
        shown = {name: _cut(one) for name, one in list(value.items())[:ENTRIES]}
        return _small(shown | ({"...": f"({left} more)"} if left > 0 else {}))
    return value


def _small(value: Any) -> Any:
    """Whole if its JSON is small, else the beginning of its JSON."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    left = len(text) - LARGEST
    return value if left <= 0 else f"{text[:LARGEST]}... ({left} more characters)"
