"""Decides which run owns a thread: a thread belongs to the creator of the object that starts it.

In a patched process a thread is a greenlet and would belong to the run that happens to start it.  A client
that is shared by the whole program starts its threads on first use, in any run.  Such a thread belongs to the
process if a method of a process-owned object starts it to work on that object or its parts.  An object is
process-owned if it existed before the worker started or was created inside `with shared():`.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from types import CellType, FrameType, FunctionType, MethodType, ModuleType
from typing import Any
from weakref import ReferenceType, ref

from gevent import getcurrent, monkey

from pytask.runtime import coroutine_owner

HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: a class of Python code, not one of the interpreter's own
NO_OWNERS = frozenset({"_frozen_importlib", "_frozen_importlib_external", "enum", "re", "typing"})
BETWEEN = frozenset({"pytask", "gevent", "threading"})  # packages between the starter and this module
DEPTH = 4  # from a thread's fields to its function, the function's objects, and through a weak reference
MANY = 50  # arguments of a thread that are checked

_made: dict[int, ReferenceType[Any]] = {}  # process-owned objects by id(), as they may not be hashable
blocks: set[object] = set()  # the active `with shared()` blocks


def note_all() -> None:
    """Mark all existing objects as process-owned: called before the first run may start.

    Also before `gc.freeze()`, after which these objects cannot be found any more.
    """
    if not monkey.is_module_patched("threading"):
        return  # threads are not greenlets here
    for key in [key for key, known in _made.items() if known() is None]:
        del _made[key]
    fits: dict[type, bool] = {}
    for one in gc.get_objects():
        kind = type(one)  # not __class__, which some objects compute
        if kind not in fits:
            fits[kind] = _may_own(kind)
        if fits[kind]:
            _made[id(one)] = ref(one)


def _may_own(kind: type) -> bool:
    return bool(
        kind.__flags__ & HEAP_TYPE
        and kind.__weakrefoffset__
        and not issubclass(kind, type | ModuleType)
        and kind.__module__ not in NO_OWNERS
    )


def is_of_process(one: object) -> bool:
    """Whether this object is process-owned."""
    known = _made.get(id(one))
    return known is not None and known() is one


# -- with shared() -----------------------------------------------------------------------------------------


@contextmanager
def shared() -> Iterator[None]:
    """Objects created inside belong to the process, and so do threads and greenlets that are started there.

    Use it for a client or a pool that the first task creates and all tasks use.  Without it, its threads
    would be part of that task's run and end with it.  In a coroutine the same holds for asyncio tasks.
    """
    if coroutine_owner.here() is not None:
        token = coroutine_owner.become(None)
        try:
            yield
        finally:
            coroutine_owner.leave(token)
        return
    here, block = getcurrent(), object()
    before = getattr(here, "pytask_sharing", False)
    here.pytask_sharing = True  # type: ignore[attr-defined]
    watches = not before and sys.getprofile() in (None, _note)  # do not replace a profiler of the program
    blocks.add(block)
    if watches:
        sys.setprofile(_note)
    try:
        yield
    finally:
        blocks.discard(block)
        here.pytask_sharing = before  # type: ignore[attr-defined]
        if watches and not blocks:
            sys.setprofile(None)


def is_sharing() -> bool:
    """Whether the calling code is inside `with shared()`."""
    return bool(getattr(getcurrent(), "pytask_sharing", False))


def _note(frame: FrameType, event: str, _: object) -> None:
    # Called for each Python function: the only way to observe new objects of any class.
    if event == "call" and frame.f_code.co_name == "__init__" and is_sharing():
        made = _first_argument(frame)
        if _may_own(type(made)):
            _made[id(made)] = ref(made)


# -- the owner of a thread
# -------------------------------------------------------------------------------------


def of_process(thread: Any) -> bool:
    """Whether a thread that the calling code starts belongs to the process."""
    if is_sharing() or is_of_process(thread):
        return True
    held = {id(one) for one in _held(vars(thread), DEPTH) if is_of_process(one)}
    if not held:
        return False
    starters = filter(is_of_process, _starters(thread))
    return any(not held.isdisjoint(map(id, (one, *_fields(one)))) for one in starters)


def _held(value: Any, depth: int) -> Iterator[Any]:
    """The objects a thread works on: its fields, the object of its method, the closure of its function."""
    yield value
    if depth > 0:
        for part in _parts(value):
            yield from _held(part, depth - 1)


def _parts(value: Any) -> Iterable[Any]:
    kind = type(value)
    parts: Iterable[Any] = ()
    if kind is MethodType:
        parts = (value.__self__,)
    elif kind is FunctionType:
        parts = map(_content, value.__closure__ or ())
    elif kind is partial:
        parts = (value.func, *value.args, *value.keywords.values())
    elif issubclass(kind, ReferenceType):
        parts = (value(),)
    elif kind is tuple:
        parts = value[:MANY]
    elif kind is dict:
        parts = tuple(islice(value.values(), MANY))
    return parts


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None  # not assigned yet


def _fields(one: Any) -> Iterable[Any]:
    try:
        fields = object.__getattribute__(one, "__dict__")  # without running code of the object
    except AttributeError:
        return ()
    return tuple(fields.values())


def _starters(thread: Any) -> Iterator[Any]:
    """The first arguments of the functions that start a thread; for a method that is its object.

    Only functions of one package: a callback from a library is the task's code, with its own threads.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - no other way to see who calls
    package = ""
    while frame is not None:
        first, name = _first_argument(frame), _package(frame)
        if first is not thread and name not in BETWEEN:
            package = package or name
            if name != package:
                return
            yield first
        frame = frame.f_back


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _first_argument(frame: FrameType) -> Any:
    code = frame.f_code
    return frame.f_locals.get(code.co_varnames[0]) if code.co_argcount else None
