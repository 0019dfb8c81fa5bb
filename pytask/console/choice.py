"""Which tasks a verb is to act on: ids, or all of a name or a state, which is asked about first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar

import click

from pytask.console import options
from pytask.console.remote import Remote, Words

Function = TypeVar("Function", bound=Callable[..., Any])

PAGE = 1000


class Choice:
    """What was asked for on the command line."""

    def __init__(
        self, remote: Remote, ids: Sequence[str], *, name: str | None, states: Sequence[str], everything: bool
    ) -> None:
        self._remote = remote
        self._ids = ids
        self._name = name
        self._states = states
        self._everything = everything
        if ids and self.bulk:
            raise click.UsageError("either ids, or --name, --state and --all: which tasks are meant?")
        if not ids and not self.bulk:
            raise click.UsageError("which tasks? Give ids, or --name, --state or --all.")

    @property
    def bulk(self) -> bool:
        """All that fits, and not those that are named."""
        return bool(self._name or self._states or self._everything)

    def ids(self, verb: str, states: Sequence[str], *, yes: bool) -> list[str]:
        """The ids, whole; a bulk is counted, and asked about.  `states`: where `verb` means anything."""
        if not self.bulk:
            return list(dict.fromkeys(self._remote.find(beginning, act=True) for beginning in self._ids))
        wanted = [state_named(word) for word in self._states] or list(states)
        found: list[str] = []
        cursor = None
        while True:
            page = self._remote.tasks.list(state=wanted, function=self._name, limit=PAGE, cursor=cursor)
            found += (task.id for task in page if not task.local)
            cursor = page.cursor
            if cursor is None:
                break
        found = list(dict.fromkeys(found))
        if found:
            options.sure(f"{verb.capitalize()} {len(found):,} task{'s' * (len(found) != 1)}?", yes=yes)
        return found

    def explained(self, commands: Callable[[str, str], Sequence[Words]]) -> bool:
        """With `--explain`: the redis-cli commands for each id, of which nothing is sent."""
        remote = self._remote
        if not remote.explain:
            return False
        return remote.explains(
            words
            for task_id in self._ids or ["<id>"]
            for words in commands(remote.space_of(task_id), task_id)
        )


def state_named(word: str) -> str:
    """A state, however it is written."""
    from pytask.domain.lifecycle import State

    if word.upper() in State.__members__:
        return word.upper()
    raise click.BadParameter(f"there is no state {word!r}; there are {', '.join(State)}")


def tasks(function: Function) -> Function:
    """`ID...`, `--name`, `--state`, `--all` and `-y`; the verb gets a :class:`Choice` as `choice`."""

    @wraps(function)
    def call(
        *args: Any,
        ids: tuple[str, ...],
        name: str | None,
        states: tuple[str, ...],
        everything: bool,
        **kwargs: Any,
    ) -> Any:
        choice = Choice(kwargs["remote"], ids, name=name, states=states, everything=everything)
        return function(*args, choice=choice, **kwargs)

    parameters = (
        click.argument("ids", nargs=-1, metavar="[ID]..."),
        click.option("-n", "--name", metavar="FUNCTION", help="All tasks of this name."),
        click.option("-s", "--state", "states", multiple=True, metavar="STATE", help="All in this state."),
        click.option("--all", "everything", is_flag=True, help="All for which it means anything."),
    )
    for parameter in reversed(parameters):
        call = parameter(call)
    return options.yes(call)  # type: ignore[return-value]
