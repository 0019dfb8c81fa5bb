"""The simulated Redis: the in-memory twin behind states in which a server can be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from pytask.adapters.memory.state import MemoryState
from pytask.adapters.memory.store import MemoryStore
from pytask.adapters.rules import Retention
from pytask.domain.errors import Refused, Unavailable
from pytask.domain.messages import Command
from pytask.testing.links import Call, Feed
from pytask.testing.virtual_time import Loop

READS = {
    "peek", "parked", "suspects", "runs_of", "recent_workers", "preview",
    "wait", "subscribe", "check", "hint", "ping", "schedules.due",
}  # fmt: skip
BEGINS_FREE = (
    "renew", "commit", "expire", "reload", "accept", "refuse", "settle", "leave", "adopt", "save", "confirm",
)  # fmt: skip
EPOCH = 1_800_000_000.0  # 2027-01-15 08:00 UTC


class ServerWorld(Protocol):
    """The part of a world that its server uses."""

    loop: Loop

    def broken(self, process: Any, what: str) -> None:
        """Something failed that never may."""


class MemoryServer:
    """Requests arrive here, and are applied at once, later, or not at all."""

    def __init__(self, world: ServerWorld) -> None:
        self.world = world
        self.clock_step = 0.0
        self.state = self.make_state()
        self.store = MemoryStore(self.state, Retention())
        self.down = 0  # these are counters: faults of one kind may overlap
        self.frozen = 0
        self.read_only = 0
        self.full = 0
        self.feeds: list[Feed] = []
        self._backlog: list[Call] = []
        self._waiting: list[Call] = []

    def make_state(self) -> MemoryState:
        """The data."""
        return MemoryState(self.now)

    def now(self) -> float:
        """Redis TIME."""
        return EPOCH + self.world.loop.time + self.clock_step

    # -- requests -------------------------------------------------------------------------------------

    def arrive(self, call: Call) -> None:
        """A request."""
        if self.down:
            self._answer(call, Unavailable("connection refused"))
        elif self.frozen:
            self._backlog.append(call)
        else:
            self._serve(call)

    def _serve(self, call: Call) -> None:
        if not call.behind:
            self._apply(call)
        elif self.state.queue:
            self._found(call, self.state.queue[-1:])
        else:
            self._waiting.append(call)
            self.world.loop.later(None, call.behind, self._waited, call)

    def _found(self, call: Call, ids: list[bytes]) -> None:
        """A wait has ended."""
        if call.verb == "wait":
            self._answer(call, ids)
        else:  # also of a process that has died: the server may hear late that its connections are closed
            self._apply(call)

    def _apply(self, call: Call) -> None:
        verb = call.verb
        if verb in ("subscribe", "check", "risks"):
            self._answer(call, [])
            return
        outcome: Any
        try:
            self._refuse(verb, call.args)
            outcome = self.served(call)
        except (Refused, Unavailable) as error:
            outcome = error
        except Exception as error:  # noqa: BLE001 - as a server answers
            self.world.broken(call.process, f"{verb} failed in the store: {error!r}")
            outcome = error
        self.wake()
        self._answer(call, outcome)

    def served(self, call: Call) -> Any:
        """Apply a request that is not refused; returns the answer."""
        return self.applied(call.verb, call.args, call.how)

    def applied(self, verb: str, args: tuple[Any, ...], how: Mapping[str, Any]) -> Any:
        """What the store answers."""
        outcome = self.method(verb)(*args, **how)
        noted = {"renew": self.store.incarnation, "claim": self.store.ahead}
        return (noted[verb], outcome) if verb in noted else outcome

    def method(self, verb: str) -> Callable[..., Any]:
        """The method of the store."""
        found: Callable[..., Any] = getattr(
            self.store.schedules if "." in verb else self.store, verb.rpartition(".")[2]
        )
        return found

    def _refuse(self, verb: str, args: tuple[Any, ...]) -> None:
        if verb in READS:
            return
        if self.read_only:
            raise Refused("MISCONF writes are refused", "MISCONF")
        if self.full and verb not in BEGINS_FREE and not (verb == "control" and args[0] is Command.STOP):
            raise Refused("OOM command not allowed", "OOM")

    def _waited(self, call: Call) -> None:
        if call in self._waiting:
            self._waiting.remove(call)
            self._found(call, [])

    def wake(self) -> None:
        """Answer those who wait for an id, if there is one."""
        if self.state.queue and self._waiting:
            waiting, self._waiting = self._waiting, []
            found = self.state.queue[-1:]
            for call in waiting:
                self._found(call, found)

    def _answer(self, call: Call, outcome: Any) -> None:
        if not call.process.dead and not call.link.reply_lost():
            self.world.loop.later(call.process, call.link.delay(), self.deliver, call, outcome)

    def deliver(self, call: Call, outcome: Any) -> None:
        """An answer arrives."""
        call.deliver(outcome)

    # -- faults ---------------------------------------------------------------------------------------

    def go_down(self) -> None:
        """Refuse connections."""
        self.down += 1
        self.drop_connections()

    def come_up(self) -> None:
        """Accept them again, with all data."""
        self.down -= 1

    def drop_connections(self) -> None:
        """All of them."""
        for feed in self.feeds:
            feed.broken = True
            self.world.loop.later(feed.process, 0.001, feed.flag.set)
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            self._answer(call, Unavailable("connection reset"))

    def freeze(self) -> None:
        """Answer nothing, and apply it later."""
        self.frozen += 1

    def thaw(self) -> None:
        """Apply what arrived meanwhile."""
        self.frozen -= 1
        if not self.frozen:
            backlog, self._backlog = self._backlog, []
            for call in backlog:
                self.arrive(call)

    def heal(self) -> None:
        """No more faults."""
        self.read_only = self.full = self.down = 0
        while self.frozen:
            self.thaw()
