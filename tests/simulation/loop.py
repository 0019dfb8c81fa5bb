"""An event loop for gevent on virtual time, in which simulated processes can be frozen and killed.

gevent's hub and primitives ask a loop for callbacks and timers only; both are kept here, in the order of
their making, and the clock jumps to the next timer when nothing is left to call.  Each belongs to the
process on whose behalf it was made, which is the one whose callback runs at that moment.
"""

from __future__ import annotations

import contextlib
import sys
from collections import deque
from heapq import heappop, heappush
from itertools import count

import gevent
from gevent._ffi.callback import callback
from gevent._hub_local import get_hub_if_exists, set_hub
from gevent.hub import Hub

TURNS = 200_000  # callbacks at one instant: more is a loop that never waits


class Spinning(RuntimeError):
    """Something is called again and again without any time passing."""


class Life:
    """A simulated process as the loop sees it."""

    rate = 1.0  # its clock's seconds for one of the world's

    def __init__(self):
        self.dead = False
        self.frozen = False
        self.parked = []  # what was due meanwhile, in order


class Callback(callback):
    """Something to call at once."""

    __slots__ = ("life",)

    def __init__(self, fn, args, life):
        callback.__init__(self, fn, args)
        self.life = life


class Timer:
    """A libev timer, as far as gevent uses one."""

    __slots__ = ("_entry", "args", "callback", "life", "loop", "ref", "repeat", "seconds")

    def __init__(self, loop, seconds, repeat=0.0, ref=True, life=None):
        self.loop = loop
        self.seconds = seconds
        self.repeat = repeat
        self.ref = ref
        self.life = life
        self.callback = None
        self.args = None
        self._entry = 0

    def start(self, fn, *args, update=None):
        self.callback = fn
        self.args = args
        self._push(self.seconds)

    def again(self, fn, *args, update=None):
        self.callback = fn
        self.args = args
        self._push(self.repeat or self.seconds)

    def _push(self, seconds):
        loop, life = self.loop, self.life
        if seconds < 0.0:
            seconds = 0.0
        self._entry = entry = next(loop.counter)
        heappush(loop.heap, (loop.time + (seconds if life is None else seconds / life.rate), entry, self))

    def stop(self):
        self.callback = None
        self.args = None
        self._entry = 0

    close = stop

    @property
    def active(self):
        return self.callback is not None

    @property
    def pending(self):
        return False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def fire(self, entry):
        """Called by the loop; does nothing if it was stopped or restarted since."""
        if entry != self._entry:
            return
        fn, args = self.callback, self.args
        if self.repeat:
            self._push(self.repeat)
        else:
            self.stop()
        fn(*args)


class Idle:
    """A watcher of something that does not exist here: files, signals, children."""

    ref = active = pending = False

    def __init__(self, loop):
        self.loop = loop
        self.callback = None

    def start(self, fn, *args, **_):
        self.callback = (fn, args)

    def stop(self):
        self.callback = None

    close = stop

    def send(self):
        """What an `async_` watcher is for."""
        if self.callback is not None:
            fn, args = self.callback
            self.loop.run_callback(fn, *args)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Loop:
    """Virtual time.  `Hub(loop=Loop())` runs on it."""

    default = False
    MAXPRI, MINPRI = 2, -2
    approx_timer_resolution = 0.0

    def __init__(self):
        self.time = 0.0
        self.counter = count(1)
        self.heap = []
        self.ready = deque()
        self.life = None  # of what runs now; None is the world itself
        self.error_handler = None
        self.grave = []  # what a dead process left: kept, or its greenlets would be unwound
        self.ended = False

    # -- what gevent asks for -------------------------------------------------------------------------

    def run_callback(self, fn, *args):
        made = Callback(fn, args, self.life)
        self.ready.append(made)
        return made

    run_callback_threadsafe = run_callback

    def timer(self, after, repeat=0.0, ref=True, priority=None):
        return Timer(self, after, repeat, ref, self.life)

    def _idle(self, *_, **__):
        return Idle(self)

    io = async_ = prepare = check = idle = fork = signal = child = stat = closing_fd = _idle

    def now(self):
        return self.time

    def update_now(self):
        pass

    update = update_now
    install_sigchld = reset_sigchld = destroy = update_now

    def _format(self):
        return f"virtual time {self.time:.3f}"

    def handle_error(self, context, kind, value, trace):
        handler = self.error_handler
        if handler is None:
            raise value
        handler.handle_error(context, kind, value, trace)

    # -- what a world asks for ------------------------------------------------------------------------

    def soon(self, life, fn, *args):
        """Call on behalf of a process."""
        self.ready.append(Callback(fn, args, life))

    def later(self, life, seconds, fn, *args):
        """Call after `seconds` of the world's time, on behalf of a process (None: the world)."""
        timer = Timer(self, 0, life=life)
        timer.callback, timer.args = fn, args
        timer._entry = entry = next(self.counter)
        heappush(self.heap, (self.time + seconds, entry, timer))
        return timer

    def freeze(self, life):
        life.frozen = True

    def thaw(self, life):
        """What was due meanwhile is done now."""
        life.frozen = False
        self.ready.extend(life.parked)
        life.parked.clear()

    def kill(self, life):
        """Nothing of it ever runs again, no `finally` either."""
        life.dead = True
        self.grave += life.parked
        life.parked = []

    # -- running --------------------------------------------------------------------------------------

    def run(self, nowait=False, once=False):  # noqa: C901 - the inner loop: a call less is felt
        ready, heap = self.ready, self.heap
        turns = 0
        while not self.ended:
            while ready:
                turns += 1
                if turns > TURNS:
                    raise Spinning(f"{ready[0]!r} at {self.time:.3f}")
                self._call(ready.popleft())
                if self.ended:
                    return
            if not heap:
                return
            at, entry, timer = heappop(heap)
            if entry != timer._entry:
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
                timer._push(timer.repeat)
            else:
                timer.callback = timer.args = None
                timer._entry = 0
            try:
                fn(*args)
            except BaseException:
                self.handle_error(timer, *sys.exc_info())
            self.life = None

    def _held(self, timer, entry):
        life = timer.life
        if life.dead:
            self.grave.append((timer, timer.callback, timer.args))
        else:
            life.parked.append(Callback(timer.fire, (entry,), life))

    def _call(self, item):
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
        except BaseException:
            self.handle_error(item, *sys.exc_info())
        self.life = None
        item.args = None


class VirtualHub(Hub):
    """Reports what goes wrong in it to the world instead of standard error."""

    on_error = None

    def print_exception(self, context, kind, value, trace):
        if self.on_error is None:
            Hub.print_exception(self, context, kind, value, trace)
        else:
            self.on_error(context, value)


@contextlib.contextmanager
def virtual_time(on_error=None):
    """This thread's hub is one on virtual time; gives its loop."""
    before = get_hub_if_exists()
    hub = VirtualHub(loop=Loop())
    hub.on_error = on_error
    set_hub(hub)
    try:
        yield hub.loop
    finally:
        set_hub(before)
        _kept.append(hub)  # collected, it would unwind what a killed process left behind


_kept = []


def wait_for_ever():
    """The current greenlet is never switched to again; whoever calls must be kept alive by the loop."""
    hub = gevent.get_hub()
    hub.loop.grave.append(gevent.getcurrent())
    hub.switch()
