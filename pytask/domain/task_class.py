"""What a task class must have so that a worker can run it: its name, and methods that can be called."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, cast

from pytask.domain.errors import BadTaskClass
from pytask.domain.task import Task
from pytask.domain.task_config import check_config


def has_check(cls: object) -> bool:
    """Whether a task class has a `check` of its own."""
    return inspect.getattr_static(cls, "check") is not Task.__dict__["check"]


def task_name(cls: object) -> str:
    """The wire name of a task class; raises :class:`BadTaskClass` with the fix."""
    kind = _task_class(cls)
    name = getattr(kind.Config, "NAME", None)
    if not isinstance(name, str) or not name:
        raise BadTaskClass(
            f"{kind.__qualname__} has no name: write `class Config: NAME = 'a-name'` inside the class"
        )
    return name


def _task_class(cls: object) -> type[Task]:
    if not isinstance(cls, type):
        if inspect.isroutine(cls):
            raise BadTaskClass(
                f"add_task got the function {cls.__name__}(): a task is a class, `class ATask(pytask.Task)`"
                " with `def start(self)`, where you call the function"
            )
        kind = type(cls).__name__
        raise BadTaskClass(f"add_task got an instance of {kind}: pass the class itself, add_task({kind})")
    if not issubclass(cls, Task):
        raise BadTaskClass(f"{cls.__qualname__} is not a task: derive it from pytask.Task")
    return cls


def check_class(kind: object) -> None:
    """Raise :class:`BadTaskClass`, with the fix, for a class of which every run would fail."""
    cls = _task_class(kind)
    name = cls.__qualname__
    check_config(cls)
    if cls.start is Task.start:
        raise BadTaskClass(f"{name} has no start(): write `def start(self):`, which does the work")
    _check_method(f"{name}.start()", inspect.getattr_static(cls, "start"))
    _check_method(f"{name}.stop()", inspect.getattr_static(cls, "stop"), reason=True)
    for verb in ("on_pause", "on_resume"):
        _check_method(f"{name}.{verb}()", inspect.getattr_static(cls, verb))
    _check_reload(cls, name)
    _check_call(
        f"{name}.__init__()", cls, "write `def __init__(self, task_data): super().__init__(task_data)`", None
    )


def _takes_reason(cls: object) -> bool:
    method = inspect.getattr_static(cls, "stop")
    if not inspect.isfunction(method) or not _can_be_called(method, None, "stop"):
        return False
    first = list(inspect.signature(method).parameters.values())[1:2]
    # An optional argument of another name is the author's own: it keeps its default.
    return all(one.default is one.empty or one.name == "reason" for one in first)


def _is_async(cls: object) -> bool:
    return cls is not None and inspect.iscoroutinefunction(inspect.getattr_static(cls, "start"))


is_async: Callable[[object], bool] = lru_cache(maxsize=1024)(_is_async)
"""Whether `start()` of a class is a coroutine."""

takes_reason: Callable[[object], bool] = lru_cache(maxsize=1024)(_takes_reason)
"""Whether `stop()` of a class takes the reason as its argument."""


def _check_reload(cls: type[Task], name: str) -> None:
    own = inspect.getattr_static(cls, "check")
    if inspect.isfunction(own):
        raise BadTaskClass(
            f"{name}.check() is called with new data before there is a run, so it has no `self`: write"
            " `@staticmethod` above `def check(data):`. If it is a method of your own, give it another name"
        )
    if has_check(cls):
        _check_blocks(f"{name}.check()", getattr(own, "__func__", own))
        _check_is_sync(f"{name}.check()", getattr(own, "__func__", own))
        _check_call(f"{name}.check()", cls.check, "it is called with the data alone", None)
    taker = inspect.getattr_static(cls, "on_reload")
    if inspect.isfunction(taker) and taker is not Task.on_reload:
        _check_blocks(f"{name}.on_reload()", taker)
        _check_call(f"{name}.on_reload()", taker, "write `def on_reload(self, data):`", None, None)


def _check_method(what: str, method: Any, *, reason: bool = False) -> None:
    if not inspect.isfunction(method):
        return  # a static method or a partial: it cannot be inspected
    _check_blocks(what, method)
    if not reason:
        _check_call(what, method, "it is called with `self` alone; its data is self.task_data", None)
    elif not _can_be_called(method, None, "stop"):
        fix = "write `def stop(self):`, or `def stop(self, reason):` with the reason as its one argument"
        _check_call(what, method, fix, None)


def _check_blocks(what: str, method: Any) -> None:
    if inspect.isgeneratorfunction(method) or inspect.isasyncgenfunction(method):
        raise BadTaskClass(
            f"{what} has a `yield`: a call only creates a generator. Write a loop with self.emit()"
        )


def _check_is_sync(what: str, method: Any) -> None:
    if inspect.iscoroutinefunction(method):
        raise BadTaskClass(
            f"{what} is `async def`, but it is called before there is a run to await it. Write `def`; what"
            " needs to wait belongs to start()"
        )


def _can_be_called(method: Callable[..., Any], *args: Any) -> bool:
    try:
        inspect.signature(method).bind(*args)
    except TypeError:
        return False
    return True


def _check_call(what: str, called: Callable[..., Any], fix: str, *args: Any) -> None:
    try:
        signature = inspect.signature(called)
    except (TypeError, ValueError):
        return  # written in C: it cannot be inspected
    try:
        signature.bind(*args)
    except TypeError as error:
        raise BadTaskClass(f"{what} cannot be called by a worker ({error}): {fix}") from None


def register(known: Mapping[str, type[Task]], *classes: object) -> dict[str, type[Task]]:
    """`known` with `classes` added; raises :class:`BadTaskClass` if two classes have the same name."""
    tasks = dict(known)
    for cls in classes:
        name = task_name(cls)
        check_class(cls)
        other = tasks.get(name)
        if other is not None and other is not cls:
            raise BadTaskClass(
                f"two tasks are named {name!r}: {other.__module__}.{other.__qualname__} and"
                f" {cls.__module__}.{cast('type', cls).__qualname__}; rename one in its Config"
            )
        tasks[name] = cast("type[Task]", cls)
    return tasks
