"""The tasks that a command acts on: ids, or all of a function or a state, after confirmation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from pytask.cli import options
from pytask.cli.connection import Remote
from pytask.domain.errors import PytaskError

if TYPE_CHECKING:
    from pytask.cli.explain_script import Item

Typed = Callable[[str, str], "Iterable[Item]"]
"""From a partition's namespace and an id to the equivalent redis-cli commands."""
Function = TypeVar("Function", bound=Callable[..., Any])

PAGE = 1000


class Batch(NamedTuple):
    """A batch of the selected tasks."""

    ids: list[str]  # whole ids, each once
    names: Sequence[str]  # these, and the words that match no task, in order
    faults: Mapping[str, PytaskError]  # the errors of words that match no task
    last: bool = False  # no batch follows


class Choice:
    """The selection given on the command line."""

    def __init__(
        self, remote: Remote, ids: Sequence[str], *, name: str | None, states: Sequence[str], everything: bool
    ) -> None:
        self._remote = remote
        self._ids = ids
        self._name = name
        self._states = states
        self._everything = everything
        if ids and self.bulk:
            raise click.UsageError("ids cannot be combined with --name, --state or --all")
        if not ids and not self.bulk:
            raise click.UsageError("no tasks selected: give ids, or --name, --state or --all")

    @property
    def bulk(self) -> bool:
        """Whether tasks are selected by filter instead of by id."""
        return bool(self._name or self._states or self._everything)

    @property
    def of_function(self) -> bool:
        """Whether a function, or all of them, is meant: by --name or --all, without --state."""
        return self.bulk and not self._states

    @property
    def function(self) -> str:
        """Its name; "*" for all."""
        return self._name or "*"

    @property
    def ids_given(self) -> bool:
        """Whether tasks are named by id."""
        return bool(self._ids)

    def batches(self, verb: str, states: Sequence[str], *, yes: bool, once: bool = False) -> Iterator[Batch]:
        """The tasks in batches; a bulk selection is counted, confirmed, and read page by page.

        `states`: those to which `verb` applies.  `once`: the operation may move a task into another of the
        states, where it must not be processed again.
        """
        if not self.bulk:
            return iter([self._named()])
        wanted = self.wanted(states)
        number = 0 if yes else sum(len(ids) for ids in self._pages(wanted))
        if number:
            options.sure(f"{verb.capitalize()} {number:,} task{'s' * (number != 1)}?", yes=yes)
        elif not yes:
            return iter(())
        pages = self._pages(wanted)
        return (Batch(ids, ids, {}) for ids in (_fresh(pages) if once and len(wanted) > 1 else pages))

    def paused_batches(self) -> Iterator[Batch]:
        """The paused tasks of the function, or all, in batches."""
        from pytask.client.pausing import paused_ids

        ids = self._remote.driver.run(paused_ids(self._remote.partitions, self._name))
        for at in range(0, len(ids), PAGE):
            part = ids[at : at + PAGE]
            yield Batch(part, part, {})

    def _named(self) -> Batch:
        names: dict[str, None] = {}
        faults: dict[str, PytaskError] = {}
        for word, found in self._remote.resolve(self._ids).items():
            name = found if isinstance(found, str) else word
            names[name] = None
            if isinstance(found, PytaskError):
                faults[name] = found
        return Batch([name for name in names if name not in faults], list(names), faults, last=True)

    def wanted(self, states: Sequence[str]) -> list[str]:
        """The states of a bulk selection: those given, else `states`."""
        return [state_named(word) for word in self._states] or list(states)

    def _pages(self, wanted: Sequence[str]) -> Iterator[list[str]]:
        from pytask.shown.selection import pages_of_ids

        return filter(None, pages_of_ids(self._remote.tasks, state=wanted, function=self._name))

    def explained(self, commands: Typed, states: Sequence[str], awaited: Typed = lambda *_: ()) -> bool:
        """With `--explain`: the redis-cli commands for each selected task; nothing is sent.

        `awaited`: the equivalent of `--wait`, for tasks given by id.
        """
        remote = self._remote
        if not remote.explain:
            return False
        if not self.bulk:
            each = [(remote.space_of(task_id), task_id) for task_id in self._ids]
            return remote.explains(
                item for part in (commands, awaited) for one in each for item in part(*one)
            )
        from pytask.cli.explain_script import ID, selection

        wanted = self.wanted(states)
        return remote.explains(
            item
            for space in remote.spaces
            for item in selection(space, wanted, self._name, list(commands(space, ID)))
        )


def _fresh(pages: Iterable[list[str]]) -> Iterator[list[str]]:
    seen: set[str] = set()
    for page in pages:
        ids = [task_id for task_id in page if task_id not in seen]
        seen.update(ids)
        if ids:
            yield ids


def tasks(function: Function) -> Function:
    """`ID...`, `--name`, `--state`, `--all` and `-y`; the command gets a :class:`Choice` as `choice`."""

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
        click.argument(
            "ids",
            nargs=-1,
            metavar="[ID]...",
            callback=options.id_text,
            shell_complete=options.completed("ids"),
        ),
        options.function_name("Select all tasks of this function."),
        options.states("Select all tasks in this state."),
        click.option(
            "--all", "everything", is_flag=True, help="Select all tasks to which the command applies."
        ),
    )
    for parameter in reversed(parameters):
        call = parameter(call)
    return options.yes(call)  # type: ignore[return-value]


def state_named(word: str) -> str:
    """A state by its case-insensitive name.  Raises `BadParameter` with the most similar one."""
    from difflib import get_close_matches

    from pytask.domain.lifecycle import State

    if word.upper() in State.__members__:
        return word.upper()
    near = get_close_matches(word.upper(), State.__members__, n=1, cutoff=0.5)
    meant = f" (did you mean {near[0]}?)" if near else ""
    raise click.BadParameter(f"unknown state {word!r}{meant}; states: {', '.join(State)}")


def name_near_misses(remote: Remote, name: str, then: str = " The task waits until one does.") -> None:
    """Print a notice if no worker knows the function, and `then` what follows from that."""
    from difflib import get_close_matches

    from pytask.domain.errors import Denied
    from pytask.terminal import say

    try:
        known = [one.name for one in remote.tasks.functions() if one.workers]
    except Denied:
        return  # the role `producer` may write but not read
    if name not in known:
        near = get_close_matches(name, known, n=1, cutoff=0.5)
        meant = f"; did you mean {near[0]!r}?" if near else "."
        say(f"no running worker knows {name!r}{meant}{then}")
