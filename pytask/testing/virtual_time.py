"""An event loop for gevent on virtual time, in which simulated processes can be frozen and killed.

gevent's hub and primitives ask a loop for callbacks and timers only; both are kept here, in the order of
their making, and the clock jumps to the next timer when nothing is left to call.  Each belongs to the
process on whose behalf it was made, which is the one whose callback runs at that moment.
"""

from __future__ import annotations

import contextlib
import sys
from collections import deque
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from itertools import count
from typing import Any, Self, cast

import gevent
from gevent._ffi.callback import callback  # type: ignore[import-not-found]
from gevent._hub_local import get_hub_if_exists, set_hub
from gevent.hub import Hub

TURNS = 200_000  # callbacks at one instant: more is a loop that never waits

Call = Callable[..., Any]


class Spinning(RuntimeError):
    """Something is called again and again without any time passing."""


class Life:
    """A simulated process as the loop sees it."""

    rate = 1.0  # its clock's seconds for one of the world's

    def __init__(self) -> None:
        self.dead = False
        self.frozen = False
        self.parked: list[Callback] = []  # what was due meanwhile, in order


class Callback(callback):  # type: ignore[misc]
    """Something to call at once."""

    __slots__ = ("life",)

    def __init__(self, fn: Call, args: tuple[Any, ...], life: Life | None) -> None:
        callback.__init__(self, fn, args)
        self.life = life


class Timer:
    """A libev timer, as far as gevent uses one."""

    __slots__ = ("args", "callback", "entry", "life", "loop", "ref", "repeat", "seconds")

    def __init__(
        self,
        loop: Loop,
        seconds: float,
        repeat: float = 0.0,
        ref: bool = True,  # noqa: FBT002 - gevent's own
        life: Life | None = None,
    ) -> None:
        self.loop = loop
        self.seconds = seconds
        self.repeat = repeat
        self.ref = ref
        self.life = life
        self.callback: Call | None = None
        self.args: tuple[Any, ...] | None = None
        self.entry = 0

    def start(self, fn: Call, *args: Any, update: Any = None) -> None:  # noqa: ARG002 - gevent's own
        """Call after its seconds."""
        self.callback = fn
        self.args = args
        self.push(self.seconds)

    def again(self, fn: Call, *args: Any, update: Any = None) -> None:  # noqa: ARG002 - gevent's own
        """Call after the seconds of its repetition."""
        self.callback = fn
        self.args = args
        self.push(self.repeat or self.seconds)

    def push(self, seconds: float) -> None:
        """Into the heap, after `seconds` by the clock of its process."""
        loop, life = self.loop, self.life
        seconds = max(seconds, 0.0)
        self.entry = entry = next(loop.counter)
        heappush(loop.heap, (loop.time + (seconds if life is None else seconds / life.rate), entry, self))

    def stop(self) -> None:
        """Call no more."""
        self.callback = None
        self.args = None
        self.entry = 0

    close = stop

    @property
    def active(self) -> bool:
        """Whether it will call."""
        return self.callback is not None

    @property
    def pending(self) -> bool:
        """Never: it calls when it is due."""
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def fire(self, entry: int) -> None:
        """Called by the loop; does nothing if it was stopped or restarted since."""
        fn, args = self.callback, self.args
        if entry != self.entry or fn is None or args is None:
            return
        if self.repeat:
            self.push(self.repeat)
        else:
            self.stop()
        fn(*args)


class Idle:
    """A watcher of something that does not exist here: files, signals, children."""

    ref = active = pending = False

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.callback: tuple[Call, tuple[Any, ...]] | None = None

    def start(self, fn: Call, *args: Any, **_: Any) -> None:
        """Wait for what will not come, unless it is sent."""
        self.callback = (fn, args)

    def stop(self) -> None:
        """Wait no more."""
        self.callback = None

    close = stop

    def send(self) -> None:
        """What an `async_` watcher is for."""
        if self.callback is not None:
            fn, args = self.callback
            self.loop.run_callback(fn, *args)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Loop:
    """Virtual time.  `Hub(loop=Loop())` runs on it."""

    default = False
    MAXPRI, MINPRI = 2, -2
    approx_timer_resolution = 0.0

    def __init__(self) -> None:
        self.time = 0.0
        self.counter = count(1)
        self.heap: list[tuple[float, int, Timer]] = []
        self.ready: deque[Callback] = deque()
        self.life: Life | None = None  # of what runs now; None is the world itself
        self.error_handler: Any = None
        # What a dead process left: kept, or its greenlets would be unwound.
        self.grave: list[Any] = []
        self.ended = False  # by a callback, or from outside

    # -- what gevent asks for -------------------------------------------------------------------------

    def run_callback(self, fn: Call, *args: Any) -> Callback:
        """Call at once, after what is due already."""
        made = Callback(fn, args, self.life)
        self.ready.append(made)
        return made

    run_callback_threadsafe = run_callback

    def timer(
        self,
        after: float,
        repeat: float = 0.0,
        ref: bool = True,  # noqa: FBT002 - gevent's own
        priority: Any = None,  # noqa: ARG002 - gevent's own
    ) -> Timer:
        """A timer of the process that runs now."""
        return Timer(self, after, repeat, ref, self.life)

    def _idle(self, *_: Any, **__: Any) -> Idle:
        return Idle(self)

    io = async_ = prepare = check = idle = fork = signal = child = stat = closing_fd = _idle

    def now(self) -> float:
        """The virtual time."""
        return self.time

    def update_now(self) -> None:
        """Only timers move it."""

    update = update_now
    install_sigchld = reset_sigchld = destroy = update_now

    def _format(self) -> str:
        return f"virtual time {self.time:.3f}"

    def handle_error(self, context: Any, kind: Any, value: Any, trace: Any) -> None:
        """What a callback raised."""
        handler = self.error_handler
        if handler is None:
            raise value
        handler.handle_error(context, kind, value, trace)

    # -- what a world asks for ------------------------------------------------------------------------

    def soon(self, life: Life | None, fn: Call, *args: Any) -> None:
        """Call on behalf of a process."""
        self.ready.append(Callback(fn, args, life))

    def later(self, life: Life | None, seconds: float, fn: Call, *args: Any) -> Timer:
        """Call after `seconds` of the world's time, on behalf of a process (None: the world)."""
        timer = Timer(self, 0, life=life)
        timer.callback, timer.args = fn, args
        timer.entry = entry = next(self.counter)
        heappush(self.heap, (self.time + seconds, entry, timer))
        return timer

    def next_time(self) -> float | None:
        """When something is due next, perhaps now; None if nothing is."""
        if self.ready:
            return self.time
        while self.heap and self.heap[0][1] != self.heap[0][2].entry:
            heappop(self.heap)
        return self.heap[0][0] if self.heap else None

    def freeze(self, life: Life) -> None:
        """Nothing of it runs until it is thawed."""
        life.frozen = True

    def thaw(self, life: Life) -> None:
        """What was due meanwhile is done now."""
        life.frozen = False
        self.ready.extend(life.parked)
        life.parked.clear()

    def kill(self, life: Life) -> None:
        """Nothing of it ever runs again, no `finally` either."""
        life.dead = True
        self.grave += life.parked
        life.parked = []

    # -- running --------------------------------------------------------------------------------------

    def run(self, *_: Any, **__: Any) -> None:  # noqa: C901 - a call less is felt
        """Until nothing is left to do."""
        ready, heap = self.ready, self.heap
        turns = 0
        while not self.ended:
            while ready:
                turns += 1
                if turns > TURNS:
                    raise Spinning(f"{ready[0]!r} at {self.time:.3f}")
                self._call(ready.popleft())
                if self.ended:
                    return  # type: ignore[unreachable]  # by the callback
            if not heap:
                return
            at, entry, timer = heappop(heap)
            if entry != timer.entry:
                continue
            if at > self.time:
                self.time = at
                turns = 0
            life = timer.life
            if life is not None and (life.dead or life.frozen):
                self._held(timer, entry)
                continue
            self.life = life
            # What `Timer.fire` does; most of a world's time goes by here.
            fn, args = timer.callback, timer.args
            if timer.repeat:
                timer.push(timer.repeat)
            else:
                timer.callback = timer.args = None
                timer.entry = 0
            try:
                fn(*args)  # type: ignore[misc]  # an entry that counts has both
            except BaseException:  # noqa: BLE001 - as gevent's loops do
                self.handle_error(timer, *sys.exc_info())
            self.life = None

    def _held(self, timer: Timer, entry: int) -> None:
        life = timer.life
        if life is None or life.dead:
            self.grave.append((timer, timer.callback, timer.args))
        else:
            life.parked.append(Callback(timer.fire, (entry,), life))

    def _call(self, item: Callback) -> None:
        life = item.life
        if life is not None:
            if life.dead:
                self.grave.append((item, item.callback, item.args))
                return
            if life.frozen:
                life.parked.append(item)
                return
        fn, args = item.callback, item.args
        if fn is None or args is None:
            return
        item.callback = None
        self.life = life
        try:
            fn(*args)
        except BaseException:  # noqa: BLE001 - as gevent's loops do
            self.handle_error(item, *sys.exc_info())
        self.life = None
        item.args = None


class VirtualHub(Hub):
    """Reports what goes wrong in it to the world instead of standard error."""

    on_error: Callable[[Any, Any], None] | None = None

    def print_exception(self, context: Any, kind: Any, value: Any, trace: Any) -> None:
        """To the world, if it listens."""
        if self.on_error is None:
            Hub.print_exception(self, context, kind, value, trace)
        else:
            self.on_error(context, value)


@contextlib.contextmanager
def virtual_time(on_error: Callable[[Any, Any], None] | None = None) -> Iterator[Loop]:
    """This thread's hub is one on virtual time; gives its loop."""
    before = get_hub_if_exists()
    loop = Loop()
    hub = VirtualHub(loop=loop)  # type: ignore[call-overload]
    hub.on_error = on_error
    set_hub(hub)
    try:
        yield loop
    finally:
        set_hub(before)  # type: ignore[arg-type]  # None where there was none
        _kept.append(hub)  # collected, it would unwind what a killed process left behind


_kept: list[VirtualHub] = []


def wait_for_ever() -> None:
    """The current greenlet is never switched to again; whoever calls must be kept alive by the loop."""
    hub = gevent.get_hub()
    cast("Loop", hub.loop).grave.append(gevent.getcurrent())
    hub.switch()
