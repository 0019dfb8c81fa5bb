"""Finds the app to run from `file.py`, `package.module` or `package.module:app`."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, TracebackType

from pytask.app import PyTask, collect_runs
from pytask.domain.errors import BadTarget, BrokenTarget, PytaskError
from pytask.domain.task import Task

OWN = str(Path(__file__).parents[1]) + os.sep


def find_app(target: str) -> PyTask:
    """Import the target and return its app, or a new one with the Task classes it defines.

    Raises :class:`BadTarget`, which lists the content of the module, and :class:`BrokenTarget`.
    """
    where, name = _split(target)
    with collect_runs() as ran:
        module = _load(where)
    apps = {key: value for key, value in vars(module).items() if isinstance(value, PyTask)}
    if name:
        return _named(module, name, apps)
    # An app that the module itself runs is selected; otherwise there must be exactly one.
    candidates = list({id(app): app for app in ran or apps.values()}.values())
    if len(candidates) > 1:
        choices = " or ".join(f"{where}:{key}" for key in apps) or "run() for one of them only"
        raise BadTarget(f"{where} has several apps, but pytask runs one: choose {choices}")
    return candidates[0] if candidates else _app_of_classes(module)


def _split(target: str) -> tuple[str, str]:
    where, colon, name = target.rpartition(":")
    return (where, name) if colon else (name, "")


# -- importing ----------------------------------------------------------------------------------------------


def _load(where: str) -> ModuleType:
    if where.endswith(".py") or os.sep in where:
        return _load_file(Path(where))
    sys.path.insert(0, str(Path.cwd()))
    try:
        return import_module(where)
    except BaseException as error:  # noqa: BLE001 - reported without the frames of pytask
        if isinstance(error, ModuleNotFoundError) and error.name and _within(where, error.name):
            raise BadTarget(_no_module(where, error.name)) from None
        raise _explained(error, where) from None


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise BadTarget(_no_file(path))
    sys.path.insert(0, str(path.absolute().parent))
    # A file called select.py must not shadow the module select.
    taken = path.stem in sys.modules or path.stem in sys.stdlib_module_names
    name = f"pytask_target_{path.stem}" if taken else path.stem
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BadTarget(f"{path} is not a Python file: its name must end in .py")
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException as error:  # noqa: BLE001 - reported without the frames of pytask
        raise _explained(error, str(path)) from None
    return module


def _explained(error: BaseException, where: str) -> BaseException:
    """The error for an exception of the user's module."""
    user = _user_part(error.__traceback__)
    if isinstance(error, PytaskError):
        place = _last_user_line(user)
        if place:
            error.add_note(f"  raised at {place}")
        return error
    if not isinstance(error, Exception):
        return error  # Ctrl-C, or the module's own sys.exit()
    text = "".join(traceback.format_exception(type(error), error, user)).rstrip()
    return BrokenTarget(f"{where} cannot be imported; it raised:\n{text}")


def ended(error: SystemExit, target: str) -> BrokenTarget:
    """The error for a module that ends the program, where a worker cannot just end, too."""
    broken = BrokenTarget(f"{target} cannot be imported; it ends the program: sys.exit({error.code!r})")
    if place := _last_user_line(error.__traceback__):
        broken.add_note(f"  raised at {place}")
    return broken


def _user_part(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the first frame that belongs neither to pytask nor to the import system."""
    while trace is not None and _is_machinery(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return trace


def _last_user_line(trace: TracebackType | None) -> str:
    frames = [f for f in traceback.extract_tb(trace) if not _is_machinery(f.filename)]
    return f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else ""


def _is_machinery(file: str) -> bool:
    # The demo's tasks are part of this package, but are an ordinary target.
    ours = file.startswith(OWN) and Path(file).parts[-2:] != ("demo", "tasks.py")
    return ours or file.startswith("<frozen") or "importlib" in Path(file).parts


# -- choosing -----------------------------------------------------------------------------------------------


def _named(module: ModuleType, name: str, apps: dict[str, PyTask]) -> PyTask:
    if name in apps:
        return apps[name]
    found = getattr(module, name, None)
    if isinstance(found, type) and issubclass(found, Task):
        why = f"{name} is a Task class, not an app: omit `:{name}` to run all tasks of {module.__name__}"
    elif found is not None:
        why = f"{name} of {module.__name__} is not a PyTask but a {type(found).__name__}"
    else:
        why = f"{module.__name__} has no {name}{_meant(name, list(apps))}"
    raise BadTarget(f"{why}. {_contents(module)}")


def _app_of_classes(module: ModuleType) -> PyTask:
    defined = [cls for cls in _task_classes(module) if _within(cls.__module__, module.__name__)]
    if not defined:
        raise BadTarget(
            f"{module.__name__} has nothing to run: neither a PyTask app nor a Task class of its own."
            f" {_contents(module)}"
        )
    app = PyTask()
    # A base class without a name is not a task.
    app.add_task(*(cls for cls in defined if getattr(cls.Config, "NAME", None) or not cls.__subclasses__()))
    return app


def _task_classes(module: ModuleType) -> list[type[Task]]:
    found = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, Task)]
    return [cls for cls in dict.fromkeys(found) if cls is not Task]


def _contents(module: ModuleType) -> str:
    apps = [key for key, value in vars(module).items() if isinstance(value, PyTask)]
    classes = [
        cls.__name__ if _within(cls.__module__, module.__name__) else f"{cls.__name__} (of {cls.__module__})"
        for cls in _task_classes(module)
    ]
    return f"Apps: {', '.join(apps) or 'none'}; Task classes: {', '.join(classes) or 'none'}."


# -- messages -----------------------------------------------------------------------------------------------


def _no_module(where: str, missing: str) -> str:
    names = [path.stem for path in Path.cwd().glob("*.py")]
    names += [path.parent.name for path in Path.cwd().glob("*/__init__.py")]
    of = "" if missing == where else f" ({missing} not found)"
    return f"no module {where!r}{of}{_meant(where, names)} in {Path.cwd()} or on the Python path"


def _no_file(path: Path) -> str:
    names = [str(other) for other in sorted(path.parent.glob("*.py"))]
    listed = f" Files: {', '.join(names[:10])}." if names else ""
    return f"no file {str(path)!r}{_meant(str(path), names)} (searched in {Path.cwd()}).{listed}"


def _meant(word: str, known: Sequence[str]) -> str:
    close = get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")
