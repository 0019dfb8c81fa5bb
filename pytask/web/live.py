"""What has changed: one look a second for all viewers, and one stream of names to each.

The stream carries no content.  It names the topics that have changed, such as `task` or `overview`, and the
browser reads the parts of its page again that show them.  So a viewer costs a set of names, and one that
reads nothing keeps no memory: names wait once, however often they change.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from pytask.client import Client
from pytask.client.records import Count, Event, Gap
from pytask.client.task_records import TaskInfo
from pytask.domain.errors import PytaskError, Unavailable
from pytask.logger import get_logger
from pytask.web.watched import Watched

log = get_logger(__name__)

LOOK = 1.0  # seconds between two looks
COUNTED = 2.5 * LOOK  # seconds that a count is shown: longer than a look, or readers would count once more
STILL = 15.0  # seconds after which a silent stream says that it lives, so that a dead one is found
TOGETHER, GAP = 10, 0.03  # viewers that are told at once, and seconds until the next ones are
LISTEN = 10.0  # seconds of one subscription: afterwards it is asked whether anyone still looks
MOST = 500  # viewers
KEPT = 50  # events of a task that somebody looks at
# Topics that are due every so many seconds, as nothing tells of them, or as what they show grows older.
PERIODS = {
    "overview": 5.0, "tasks": 10.0, "workers": 5.0, "schedules": 5.0, "limits": 3.0, "functions": 5.0,
    "findings": 30.0,
}  # fmt: skip
TOPICS = frozenset({"rejected", "events", "log", "task", *PERIODS})


class Viewer:
    """One stream: the topics that it waits for, and those that have changed."""

    def __init__(self, topics: frozenset[str], task: str | None) -> None:
        self.topics = topics
        self.task = task  # the id for the topics `task`, `log` and `events`
        self.fresh = True  # no look was made for it yet
        self._changed: set[str] = set()
        self._ready = threading.Event()
        self.over = False

    def tell(self, topics: set[str]) -> bool:
        """Note what has changed; whether the viewer shows any of it."""
        mine = topics & self.topics
        if mine:
            self._changed |= mine
            self._ready.set()
        return bool(mine)

    def say(self, name: str) -> None:
        """Tell what is no topic: `away`, Redis does not answer; `back`."""
        self._changed.add(name)
        self._ready.set()

    def end(self) -> None:
        """End the stream."""
        self.over = True
        self._ready.set()

    def wait(self, seconds: float) -> list[str]:
        """What has changed since the last wait; none after `seconds`."""
        self._ready.wait(seconds)
        self._ready.clear()
        found, self._changed = self._changed, set()
        return sorted(found)


def _wanted(viewers: Sequence[Viewer]) -> dict[str, set[str]]:
    """The tasks that somebody looks at, with the topics of all who do."""
    found: dict[str, set[str]] = {}
    for viewer in viewers:
        if viewer.task is not None:
            found.setdefault(viewer.task, set()).update(viewer.topics)
    return found


Spawn = Callable[[Callable[[], None]], None]


def _in_a_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="pytask web", daemon=True).start()


class Hub:
    """Looks for all viewers, while there are any."""

    def __init__(
        self, client: Client, changed: Callable[[], None] = lambda: None, spawn: Spawn = _in_a_thread
    ) -> None:
        self._client = client
        self._spawn = spawn
        self._on_change = changed  # what was read before is old
        self._lock = threading.Lock()
        self._viewers: set[Viewer] = set()
        self._turn = 0  # of the threads; 0 while none is needed
        self._turns = itertools.count(1)
        self._due: dict[str, float] = {}  # topic -> when it is due
        self._watched = Watched(client)
        self._events: dict[str, deque[Event]] = {}  # of tasks that somebody looks at
        self._busy: set[str] = set()  # tasks with events since the last look
        self._before: Count | None = None  # what the last look has counted
        self._counted: tuple[float, Count | None] = (0.0, None)  # the same, while it is shown, and when
        self._forgotten = 0  # grows when what was counted must not be shown any more
        self._count = 0  # events since the last look
        self._unread: Unavailable | None = None  # why the last look could not read
        self.rate: float | None = None  # events a second; None while nobody has looked for long enough

    def counted(self, now: float) -> Count | None:
        """What the last look has counted, if that was a moment ago: a count costs Redis some ms."""
        at, found = self._counted
        return found if now - at < COUNTED else None

    def seen(self, task: str, now: float) -> TaskInfo | None:
        """What the last look has read of a task that somebody looks at, if that was a moment ago."""
        return self._watched.seen(task, now)

    def forget(self) -> None:
        """Somebody has changed something, and wants to see it."""
        self._forgotten += 1  # also a look that is under way has counted before
        self._counted = (0.0, None)
        self._watched.forget()

    @property
    def viewers(self) -> int:
        """How many there are."""
        return len(self._viewers)

    def join(self, topics: Sequence[str], task: str | None) -> Viewer | None:
        """A new viewer; None if there are too many."""
        viewer = Viewer(TOPICS.intersection(topics), task)
        with self._lock:
            if len(self._viewers) >= MOST:
                return None
            self._viewers.add(viewer)
            if task is not None:
                self._events.setdefault(task, deque(maxlen=KEPT))
            if not self._turn:
                self._turn = next(self._turns)
                for work in (self._look_on, self._listen_on):
                    self._spawn(partial(work, self._turn))
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """It looks no more."""
        with self._lock:
            self._viewers.discard(viewer)

    def stream(self, viewer: Viewer) -> Iterator[bytes]:
        """The names of what changes, as server-sent events, until the browser goes."""
        try:
            yield b"retry: 3000\n\n"
            while not viewer.over:
                names = viewer.wait(STILL)
                yield b"".join(f"event: {name}\ndata: \n\n".encode() for name in names) or b": still\n\n"
        finally:
            self.leave(viewer)

    def events_of(self, task: str) -> list[Event]:
        """The last events of a task that somebody looks at, newest first."""
        return list(self._events.get(task, ()))[::-1]

    # -- looking --------------------------------------------------------------------------------------

    def _look_on(self, turn: int) -> None:
        last = time.monotonic()
        while self._still_needed(turn):
            time.sleep(max(LOOK / 2, last + LOOK - time.monotonic()))
            now = time.monotonic()
            counted, self._count = self._count, 0
            self.rate, last = counted / max(0.001, now - last), now
            self.look_or_tell(now)

    def look_or_tell(self, now: float) -> None:
        """Look; while Redis does not answer tell so, or what is shown would pass for what is."""
        away, self._unread = self._unread is not None, None
        try:
            self.look(now)
        except Unavailable as error:
            self._unread = error
        except PytaskError as error:
            log.debug("the page could not look: %s", error)
        if self._unread is not None and not away:
            log.warning("the page cannot read from Redis, and shows that: %s", self._unread)
        if self._unread is not None or away:
            with self._lock:
                viewers = list(self._viewers)
            for viewer in viewers:
                viewer.say("back" if self._unread is None else "away")
                viewer.fresh = True  # the next look tells it all topics

    def _still_needed(self, turn: int) -> bool:
        with self._lock:
            if self._turn == turn and not self._viewers:
                self._turn, self.rate = 0, None
                self._before = None
                self._watched.clear()
                self._events.clear()
            return self._turn == turn

    def look(self, now: float) -> None:
        """Tell each viewer what has changed since the last look."""
        with self._lock:
            viewers = list(self._viewers)
            for task in self._events.keys() - {viewer.task for viewer in viewers}:
                del self._events[task]
            busy, self._busy = self._busy, set()
        shared = self._shared({topic for viewer in viewers for topic in viewer.topics}, bool(busy), now)
        of_task = self._of_tasks(_wanted(viewers), busy, now)
        if shared or any(of_task.values()) or any(viewer.fresh for viewer in viewers):
            self._on_change()  # before anyone is told, or they would read what others have read before
        self._tell(viewers, shared, of_task)

    def _tell(self, viewers: Sequence[Viewer], shared: set[str], of_task: Mapping[str, set[str]]) -> None:
        """Tell them, a few at a time: all browsers that are told read at once.

        A page that somebody asks for in that moment would wait until the last of them is served.
        """
        told, gap = 0, min(GAP, LOOK / 2 * TOGETHER / max(1, len(viewers)))
        for viewer in viewers:
            found = shared | (of_task[viewer.task] if viewer.task is not None else set())
            # Its page was read before this look: what has changed in between is not known.
            told += viewer.tell(set(viewer.topics) if viewer.fresh else found)
            viewer.fresh = False
            if told == TOGETHER:
                told = 0
                time.sleep(gap)

    def _of_tasks(self, wanted: Mapping[str, set[str]], busy: set[str], now: float) -> dict[str, set[str]]:
        """What has changed of the tasks; nothing while they cannot be read: the rest is told."""
        try:
            return self._watched.look(wanted, busy, now)
        except PytaskError as error:
            log.debug("the page could not look at tasks: %s", error)
            self._unread = error if isinstance(error, Unavailable) else None
            with self._lock:
                self._busy |= busy  # for the next look
            return {task: set() for task in wanted}

    def _shared(self, wanted: set[str], busy: bool, now: float) -> set[str]:
        found = set()
        if wanted & {"overview", "tasks", "rejected"}:
            turn, counted = self._forgotten, self._client.count()
            if turn == self._forgotten:
                self._counted = (now, counted)
            if busy or self._before not in (None, counted):
                found |= {"overview", "tasks", "rejected"}
            self._before = counted
        for topic in wanted & PERIODS.keys():
            if now >= self._due.get(topic, 0.0):
                self._due[topic] = now + PERIODS[topic]
                found.add(topic)
        return found

    # -- events ---------------------------------------------------------------------------------------

    def _listen_on(self, turn: int) -> None:
        while self._turn == turn:
            try:
                for event in self._client.watch(seconds=LISTEN):
                    self.note(event)
            except PytaskError as error:
                log.debug("the page could not listen: %s", error)
                time.sleep(LOOK)

    def note(self, event: Event | Gap) -> None:
        """Note an event of any task."""
        if isinstance(event, Gap):
            return
        self._count += 1
        if len(self._busy) < KEPT or event.id in self._events:
            self._busy.add(event.id)
        kept = self._events.get(event.id)
        if kept is not None:
            kept.append(event)
