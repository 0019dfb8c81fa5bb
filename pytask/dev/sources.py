"""Which files count as the code of a target, and the thread that waits for one to be saved."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from importlib.machinery import PathFinder
from pathlib import Path

from pytask.domain.errors import BadTarget, MissingExtra, Unwatched

STEP = 50  # ms without another save after which several are one
LONGEST = 400  # ms after which they are reported even so
LOOK = 500  # ms between two looks at whether to end
GENERATED = ("__pycache__", "node_modules", "site-packages")


def folder_of(target: str, cwd: Path) -> Path:
    """The folder of `file.py`, of the package of `package.module:app`, or of a single module.

    Nothing is imported.  Raises `BadTarget` if there is no such file or folder.
    """
    where, colon, name = target.rpartition(":")
    where = where if colon else name
    if where.endswith(".py") or "/" in where or not where.strip("."):
        folder = (cwd / where).parent
        _refuse(where, cwd / where)
    else:
        found = PathFinder.find_spec(where.partition(".")[0], [str(cwd)]) or PathFinder.find_spec(
            where.partition(".")[0]
        )
        places = list(found.submodule_search_locations or ()) if found is not None else []
        own = found.origin if found is not None else None
        folder = Path(places[0]) if places else Path(own).parent if own else cwd
    if not folder.is_dir():
        raise BadTarget(f"no folder {str(folder)!r}, where {where!r} should be: correct TARGET")
    return folder.resolve()


def _refuse(where: str, path: Path) -> None:
    """Raise `BadTarget` for a folder, and for a file that is not there although its folder is."""
    if path.is_dir():
        raise BadTarget(f"{where!r} is a folder: name a file in it, such as {str(Path(where, 'tasks.py'))!r}")
    if path.is_file() or not path.parent.is_dir():
        return
    others = [str(Path(where).with_name(other.name)) for other in sorted(path.parent.glob("*.py"))]
    near = get_close_matches(where, others, n=1, cutoff=0.5)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    raise BadTarget(f"no file {where!r}{meant}: correct TARGET, or create the file first")


def is_source(path: Path, roots: Sequence[Path]) -> bool:
    """Whether the path below one of the roots is code.

    Below a folder: Python files, except in hidden, generated and virtual environments' folders.  A root that
    is a file counts whatever its name is.
    """
    if path in roots:
        return True
    if path.suffix != ".py":
        return False
    return any(_below(path, root) for root in roots if path.is_relative_to(root))


def _below(path: Path, root: Path) -> bool:
    names = path.relative_to(root).parts
    if any(name.startswith(".") or name in GENERATED for name in names):
        return False
    between = [root.joinpath(*names[:count]) for count in range(1, len(names))]
    return not any((folder / "pyvenv.cfg").exists() for folder in between)


def require() -> None:
    """Raise `MissingExtra` if watchfiles is not installed."""
    try:
        import watchfiles  # noqa: F401
    except ImportError as error:
        raise MissingExtra(
            f"`pytask dev` needs the package {error.name!r}: pip install 'pytaskd[dev]'"
        ) from None


class Watch:
    """A thread that calls `wake` after each save; `taken` gives the saved files once."""

    def __init__(self, roots: Sequence[Path], wake: Callable[[], None]) -> None:
        self._roots = [root.resolve() for root in roots]
        self._wake = wake
        self._saved: set[Path] = set()
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._failed: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    @property
    def folders(self) -> list[Path]:
        """What is watched; the folder of a file, as an editor may replace the file."""
        return list(dict.fromkeys(root if root.is_dir() else root.parent for root in self._roots))

    def start(self) -> None:
        """Start watching."""
        self._thread.start()

    def taken(self) -> list[Path]:
        """The files saved since the last call.  Raises `Unwatched` if they cannot be watched."""
        if self._failed is not None:
            listed = ", ".join(map(str, self.folders))
            raise Unwatched(f"cannot watch {listed}: {self._failed}") from self._failed
        with self._lock:
            saved, self._saved = self._saved, set()
        return sorted(saved)

    def close(self) -> None:
        """End the thread."""
        self._end.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        from watchfiles import watch

        try:
            for found in watch(
                *self.folders, watch_filter=lambda _, path: is_source(Path(path), self._roots),
                debounce=LONGEST, step=STEP, rust_timeout=LOOK, stop_event=self._end, raise_interrupt=False,
            ):  # fmt: skip
                with self._lock:
                    self._saved |= {Path(path) for _, path in found}
                self._wake()
        except Exception as error:  # noqa: BLE001 - of the library and of the system; reported by `taken`
            self._failed = error
            self._wake()
