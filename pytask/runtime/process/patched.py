"""Patching by gevent, and detection of modules that were imported before it."""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache, wraps
from importlib import metadata
from typing import Any

from gevent import monkey

from pytask.domain.errors import BadPatch, ImportedEarly, NotPatched
from pytask.logger import get_logger

log = get_logger(__name__)

NEEDED = ("socket", "time", "threading")
EARLY = ("redis", "valkey", "requests", "urllib3")

FIXED = ("socket", "time", "thread", "select")  # without one of these a task blocks all others
WORDS = {"on": True, "true": True, "off": False, "false": False}

# Originals that block the whole process, or fail, if a module imported them before gevent replaced them.
BLOCKS = {
    "time": ("sleep",),
    "socket": ("socket", "create_connection", "getaddrinfo", "gethostbyname"),
    "ssl": ("SSLContext", "SSLSocket"),
    "select": ("select", "poll", "epoll"),
    "subprocess": ("Popen", "run", "call", "check_call", "check_output"),
    "_thread": ("allocate_lock", "start_new_thread"),
    "threading": ("Lock", "RLock", "Event"),
    "queue": ("SimpleQueue",),
}
# These keep the originals on purpose: a debugger, and a tracer with native threads of its own.
ON_PURPOSE = ("_pydev", "pydevd", "debugpy", "ddtrace", "coverage", "_pytest", "gevent", "greenlet", "pytask")
# The events of gevent's patch for which plugins are loaded.
LISTENERS = ("will_patch_all", "will_patch_module", "did_patch_module", "did_patch_builtins", "did_patch_all")
SHOWN = 5


def read(text: str) -> dict[str, bool]:
    """Parse `--patch`, such as `Event=off,queue=off`.  Raises :class:`BadPatch`."""
    known = [name for name in inspect.signature(monkey.patch_all).parameters if name != "kwargs"]
    found = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, word = part.partition("=")
        if name not in known or word.lower() not in WORDS:
            raise BadPatch(f"{part!r} is not NAME=on or NAME=off with a NAME of {', '.join(known)}")
        if name in FIXED and not WORDS[word.lower()]:
            raise BadPatch(f"{part!r}: without it, one waiting task blocks all others of its process")
        found[name] = WORDS[word.lower()]
    return found


def patch(changes: Mapping[str, bool]) -> None:
    """Patch this process for `pytask run`.  Raises :class:`ImportedEarly` if it is too late."""
    patch_all = monkey.patch_all
    signature = inspect.signature(patch_all)
    with warnings.catch_warnings(), listeners_read_once():
        # The first is reported below with its cause; the second occurs if an agent has patched, correctly.
        for known in ("Monkey-patching ssl after", "Patching more than once"):
            warnings.filterwarnings("ignore", known)
        patch_all(**changes)
    _refine(changes)

    @wraps(patch_all)
    def again(*args: Any, **named: Any) -> Any:
        # A target may start with its own patch, which would add what was disabled here.
        asked = signature.bind(*args, **named).arguments
        done = patch_all(**{**asked.pop("kwargs", {}), **asked, **changes})
        _refine(changes)
        return done

    monkey.patch_all = again
    broken = sorted({name.partition(".")[0] for name, what in holders() if what == "ssl.SSLContext"})
    if broken:
        raise ImportedEarly(
            f"{' and '.join(broken)} imported ssl before gevent could patch this process: every HTTPS"
            " connection made by them would fail with RecursionError. They were imported by code that"
            f" Python runs at startup: {_starters()}. Fix: start that agent in the first line of TARGET"
            " instead, which is imported after the patch"
        )


@contextmanager
def listeners_read_once() -> Iterator[None]:
    """While this is open, the entry points of what is installed are those that were there when it was opened.

    gevent asks for the listeners of each module that it patches, and Python reads the metadata of all
    installed distributions each time: with 125 of them, a third of the CPU time in which a worker starts.
    """
    read = metadata.entry_points
    ask = read().select

    def entry_points(**words: Any) -> Any:  # a listener may keep it
        return ask(**words)

    metadata.entry_points = entry_points
    try:
        yield
    finally:
        metadata.entry_points = ask = read


def _refine(changes: Mapping[str, bool]) -> None:
    from pytask.runtime.process import patched_locks

    patched_locks.use_locks()
    if changes.get("Event", True):
        patched_locks.use_event()
    if changes.get("queue", True):
        patched_locks.use_queues()
    else:
        patched_locks.use_simple_queue()


def require_patched() -> None:
    """Raise :class:`NotPatched` unless blocking calls yield to other greenlets here."""
    missing = [name for name in NEEDED if not monkey.is_module_patched(name)]
    if missing:
        early = next((name for name in EARLY if name in sys.modules), "")
        raise NotPatched(early)


@cache  # once per process, even with several workers
def warn_of_early() -> None:
    """Log the modules that were imported before the patch and hold originals."""
    found: dict[str, list[str]] = {}
    for module, what in holders():
        found.setdefault(module, []).append(what)
    if not found:
        return
    shown = ", ".join(f"{name} ({', '.join(held)})" for name, held in sorted(found.items())[:SHOWN])
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    log.warning(
        "[PT013] imported before gevent patched this process: %s%s. A task that uses them may block all"
            " others, or fail (HTTPS: RecursionError). Fix: put `from gevent import monkey;"
            " monkey.patch_all()` before these imports, or start the program with `pytask run FILE`, which"
            " patches first",
        shown, more,
    )  # fmt: skip


def holders() -> Iterator[tuple[str, str]]:
    """The modules outside the standard library that hold originals, with the names of these.

    Modules that look a function up when they call it (`time.sleep`) are patched, and are not included.
    """
    originals = _originals()
    modules = {id(module): module for module in sys.modules.values()}  # some have several names
    for module in list(modules.values()):
        name = str(getattr(module, "__name__", ""))
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names or top.startswith(ON_PURPOSE):
            continue
        for value in list(getattr(module, "__dict__", {}).values()):
            what = originals.get(id(value)) or _subclassed(value, name)
            if what:
                yield name, what


def _originals() -> dict[int, str]:
    found = {}
    for name, items in BLOCKS.items():
        for item in items:
            if monkey.is_object_patched(name, item):
                found[id(monkey.get_original(name, item))] = f"{name}.{item}"
    return found


def _subclassed(value: object, module: str) -> str:
    if not isinstance(value, type) or value.__module__ != module:
        return ""
    for name, item in (("ssl", "SSLContext"), ("socket", "socket")):
        if monkey.is_object_patched(name, item) and monkey.get_original(name, item) in value.__bases__:
            return f"{name}.{item}"
    return ""


def _starters() -> str:
    """What loads an agent before any program, or while gevent patches."""
    found = [getattr(sys.modules.get(name), "__file__", None) for name in ("sitecustomize", "usercustomize")]
    listeners = {
        f"the gevent plugin {one.value}"
        for name in LISTENERS
        for one in metadata.entry_points(group=f"gevent.plugins.monkey.{name}")
        if not one.value.startswith("gevent.")
    }
    known = [*filter(None, found), *sorted(listeners)]
    return " and ".join(known) or "a .pth file in site-packages, or an option of Python"
