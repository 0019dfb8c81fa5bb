"""Which run a coroutine belongs to: a context variable, so whatever it creates inherits it.

`asyncio.create_task`, `TaskGroup` and the callbacks of a loop copy the context of their caller.
"""

from __future__ import annotations

from contextvars import Context, ContextVar, Token
from typing import Any

_owner: ContextVar[Any] = ContextVar("pytask_owner", default=None)

current = _owner.get
"""What the run that owns the calling coroutine has in the thread of the loop; None outside of coroutines."""


def become(owner: Any) -> Token[Any]:
    """From here on, the context of the caller belongs to this owner; None: to the process."""
    return _owner.set(owner)


def leave(token: Token[Any]) -> None:
    """Undo `become`."""
    _owner.reset(token)


def of(context: Context) -> Any:
    """As `current`, in this context."""
    return context.get(_owner)


def here() -> Any:
    """As `current`, but None in a native thread that has only a copy of the context."""
    owner = _owner.get()
    return owner if owner is not None and owner.here else None
