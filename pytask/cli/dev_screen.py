"""What `pytask dev` prints: log lines and messages, and on a terminal a view of the tasks below them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytask.cli.printer import Column, console, drawn_table, fancy, printable
from pytask.domain.escaping import escaped
from pytask.shown.rows import task_row
from pytask.terminal import out

if TYPE_CHECKING:
    from rich.live import Live

    from pytask.dev.tasks import Shown

COLUMNS = (
    Column("id", "id"),
    Column("_state", "state"),
    Column("function", "function"),
    Column("_since", "updated"),
    Column("_progress", "progress"),
)


class PlainScreen:
    """Lines only, for a pipe or a file."""

    live = False

    def line(self, text: str) -> None:
        """A line that a worker printed."""
        out(text)

    def message(self, text: str) -> None:
        """A message of the loop."""
        out(f"dev: {text}")

    def draw(self, shown: Shown) -> None:
        """Nothing: the lines say what happens."""

    def close(self) -> None:
        """Nothing to restore."""


class LiveScreen:
    """Lines that scroll above a view of the tasks."""

    live = True

    def __init__(self) -> None:
        from rich.live import Live

        self._console = console()
        self._live: Live = Live(console=self._console, auto_refresh=False, transient=True)
        self._live.start()

    def line(self, text: str) -> None:
        """A line that a worker printed."""
        from rich.text import Text

        self._console.print(Text(escaped(text, keep="\t")), soft_wrap=True)

    def message(self, text: str) -> None:
        """A message of the loop."""
        from rich.text import Text

        self._console.print(Text(escaped(f"dev: {text}"), style="bold"), soft_wrap=True)

    def draw(self, shown: Shown) -> None:
        """Replace the view."""
        self._live.update(picture(shown, self._console.width), refresh=True)

    def close(self) -> None:
        """Remove the view."""
        self._live.stop()


def picture(shown: Shown, width: int) -> Any:
    """The view: counts, and the first tasks."""
    from rich.console import Group
    from rich.rule import Rule
    from rich.text import Text

    head = shown.error or "  ".join(f"{state} {number}" for state, number in shown.counts.items() if number)
    title = Text(printable(head or "no tasks yet"), style="bold", no_wrap=True)
    parts: list[Any] = [Rule(style="dim"), title]
    if shown.tasks:
        parts.append(drawn_table([task_row(task) for task in shown.tasks], COLUMNS, width))
    return Group(*parts)


def screen() -> PlainScreen | LiveScreen:
    """For standard output."""
    return LiveScreen() if fancy() else PlainScreen()
