"""The tasks that an action on many is meant for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytask.client.reader import Reader

PAGE = 1000


def pages_of_ids(
    client: Reader, *, state: Sequence[str], function: str | None = None, worker: str | None = None
) -> Iterator[list[str]]:
    """The ids of a list, page by page, each once in its page; none of tasks that belong to a process.

    A page with a filter may be empty although others follow.
    """
    cursor = None
    while True:
        page = client.list(state=state, function=function, worker=worker, limit=PAGE, cursor=cursor)
        yield list(dict.fromkeys(task.id for task in page if not task.local))
        cursor = page.cursor
        if cursor is None:
            return
