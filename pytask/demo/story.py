"""`pytask demo`: a private server, two workers as processes, and a story that shows what pytask does."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
import time
import webbrowser
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

from pytask.adapters.embedded import EmbeddedServer
from pytask.daemon.program import program
from pytask.demo.stage import PATIENCE, TIME_SCALE, Over, Seen, Stage
from pytask.domain.errors import ConfigError, PytaskError
from pytask.domain.lifecycle import State
from pytask.domain.messages import Command, Event
from pytask.domain.timing import Timing
from pytask.terminal import out, say

WORKERS = ("worker-a", "worker-b")
SPARE = "worker-c"
COUNTERS = ("counter-1", "counter-2", "counter-3")
OTHERS = ("report", "broken", "greeter")
FAILED, INTERRUPTED = 1, 130

TICK = "long-running tasks tick"
FINISH = "a task that finishes leaves its output"
FAIL = "a task that fails leaves its error"
RELOAD = "reload restarts a running task in place with its new data"
STOP = "stop and start stop a task and start it again"
SURVIVE = "a task of a killed worker continues on another worker where it was"
RELEASE = "workers that receive SIGTERM release their tasks"
CHECKS = (TICK, FINISH, FAIL, RELOAD, STOP, SURVIVE, RELEASE)

INVITATION = """
To take part, type in another terminal:
  {cli} PSUBSCRIBE 'task-*'
  {cli} HMSET mine function demo/counter data '{{"interval": 2}}'
  {cli} LPUSH new-task mine
  {cli} HGETALL mine
  {cli} PUBLISH task-mine-control stop
Or, without redis-cli:
  export PYTASK_REDIS_URL={url}
  {pytask} new demo/counter interval=2 --id mine
  {pytask} watch mine --count 3
  {pytask} stop mine --wait 10"""


def play(seconds: float | None, data_dir: Path | None, *, page: bool = False) -> int:
    """Run the demo for `seconds` or until a signal, with the page or without; returns the exit code."""
    ends_at = None if seconds is None else time.monotonic() + seconds
    with ExitStack() as stack:
        folder = data_dir or _folder(stack)
        server = stack.enter_context(EmbeddedServer(folder))
        stage = stack.enter_context(closing(Stage(server.url, folder, ends_at)))
        stack.enter_context(stage.noting_signals())
        demo = Demo(stage)
        try:
            address = stage.start_page() if page else ""
            _open(address)
            demo.story(server.port, server.url, address)
            stage.tell(f"The demonstration is complete; the tasks continue. {_way_out(ends_at)}")
            while True:
                stage.look()
        except Over:
            demo.release()
        return demo.verdict()


def _open(address: str) -> None:
    """Open the page where a person sees it; a browser for terminals would hide the demo."""
    graphical = sys.platform == "darwin" or "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ
    if address and graphical and sys.stdout.isatty():
        webbrowser.open(address)


def _folder(stack: ExitStack) -> Path:
    try:
        made = tempfile.TemporaryDirectory(prefix="pytask-demo-", ignore_cleanup_errors=True)
    except OSError as error:
        raise ConfigError(f"no directory for the demo's data: {error}. Choose one with --data-dir") from None
    return Path(stack.enter_context(made))


def _pytask() -> str:
    """How a shell calls this command: `dev.py demo` runs it from an environment that is not activated."""
    return "pytask" if shutil.which("pytask") else shlex.join(program())


def _way_out(ends_at: float | None) -> str:
    if ends_at is None:
        return "Press Ctrl-C to end it: the workers then release their tasks."
    return f"It ends in {max(0.0, ends_at - time.monotonic()):.0f} s, or on Ctrl-C."


class Demo:
    """The steps of the demo, and the results of their checks."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._passed: dict[str, bool] = {}

    def story(self, port: int, url: str, page: str) -> None:
        """All steps from the first worker to the task that survives.  Raises :class:`Over`."""
        told = f"See it at {page}" if page else "With --web, see it in a browser."
        self._stage.tell(f"A private server runs on port {port}. Two workers start, as processes. {told}")
        self._stage.clear(*COUNTERS, *OTHERS)
        for name in WORKERS:
            self._stage.start_worker(name)
        self._await_workers(*WORKERS)
        out(INVITATION.format(cli=f"redis-cli -p {port}", url=url, pytask=_pytask()))
        self._show_tasks()
        victim, hit = self._kill_a_worker()
        self._steer()
        self._show_survival(victim, hit)
        self._stage.tell(f"{SPARE} replaces {victim}, as a supervisor would do.")
        self._stage.start_worker(SPARE)
        self._await_workers(SPARE)

    def _await_workers(self, *names: str) -> None:
        if not self._stage.wait(lambda: all(map(self._stage.showed_up, names))):
            raise PytaskError(
                f"{' and '.join(names)} did not start within {PATIENCE:g} s\n{self._stage.last_words()}"
            )

    def _show_tasks(self) -> None:
        stage = self._stage
        stage.tell("Five tasks are queued: three count until they are stopped, one finishes, one fails.")
        for name in COUNTERS:
            stage.push(name, "demo/counter", interval=1)
        stage.push("report", "demo/report")
        stage.push("broken", "demo/broken")
        self._check(TICK, lambda: all(len(stage.of(name, "tick")) > 1 for name in COUNTERS))
        self._check(FINISH, lambda: bool(stage.of("report", Event.ENDED)))
        self._confirm(FINISH, stage.fields("report", "state", "output") == [State.ENDED, '{"parts":3}'])
        self._check(FAIL, lambda: bool(stage.of("broken", Event.ERROR)))
        self._confirm(
            FAIL, stage.fields("broken", "state", "error") == [State.ERROR, "the printer is on fire"]
        )

    def _kill_a_worker(self) -> tuple[str, list[str]]:
        """Kill the worker that runs the first counter; returns its name and its counters."""
        stage = self._stage
        victim = stage.owners.get(COUNTERS[0], WORKERS[0])
        hit = [name for name in COUNTERS if stage.owners.get(name) == victim]
        process = stage.workers[victim]
        here, usual = Timing().scaled(TIME_SCALE).expiry, Timing().expiry
        stage.tell(
            f"kill -9 {process.pid}: {victim} is dead, and with it its runs of {' and '.join(hit)}."
            " The other worker takes them over when their leases have expired,"
            f" in about {here:.0f} s ({usual:.0f} s outside this demo)."
        )
        process.kill()
        process.wait()
        return victim, hit

    def _steer(self) -> None:
        stage = self._stage
        stage.tell("Meanwhile, a running task is reloaded, stopped and started again.")
        stage.push("greeter", "demo/greeter", text="good morning")
        stage.wait(lambda: self._says("good morning"))
        stage.change("greeter", text="good evening")
        stage.control("greeter", Command.RELOAD)
        self._check(RELOAD, lambda: bool(stage.of("greeter", Event.RELOADED)) and self._says("good evening"))
        stage.control("greeter", Command.STOP)
        stage.wait(lambda: bool(stage.of("greeter", Event.STOPPED)))
        stopped = stage.fields("greeter", "state") == [State.STOPPED]
        runs = len(stage.of("greeter", Event.RUNNING))
        stage.control("greeter", Command.START)
        self._check(STOP, lambda: len(stage.of("greeter", Event.RUNNING)) > runs)
        self._confirm(STOP, stopped)

    def _says(self, text: str) -> bool:
        return any(seen.data["text"] == text for seen in self._stage.of("greeter", "says"))

    def _show_survival(self, victim: str, hit: list[str]) -> None:
        # Any of several tasks of a dead worker may have caused its death: workers claim them one at a time, a
        # minute apart, so only the first one is awaited.
        def ticks(name: str) -> list[Seen]:
            return [seen for seen in self._stage.of(name, "tick") if seen.worker != victim]

        self._check(SURVIVE, lambda: any(len(ticks(name)) > 1 for name in hit))
        for name in [name for name in hit if ticks(name)][:1]:
            first = ticks(name)[0]
            before = [
                seen.data["count"] for seen in self._stage.of(name, "tick") if seen.worker == victim
            ] or [0]
            # The last count before the kill may have been published but not saved, as saves go with the
            # renewals, or saved but not published.
            self._confirm(SURVIVE, before[-1] > 1 and first.data["count"] - before[-1] in (0, 1, 2))
            self._stage.tell(
                f"{name} continues on {first.worker}, from {before[-1]} to {first.data['count']}."
            )

    def release(self) -> None:
        """Send SIGTERM to the workers, which then leave no task RUNNING."""
        stage = self._stage
        living = [name for name, process in stage.workers.items() if process.poll() is None]
        stage.tell(f"End: SIGTERM to {' and '.join(living) or 'no worker'}.")
        theirs = [name for name in COUNTERS if stage.fields(name, "state") == [State.RUNNING]]
        clean = stage.end_workers()
        if SURVIVE in self._passed:
            back = all(stage.fields(name, "state") == [State.WAIT] for name in theirs)
            self._passed[RELEASE] = clean and back

    # -- checks --------------------------------------------------------------------------------------

    def _check(self, name: str, holds: Callable[[], bool]) -> None:
        self._passed[name] = self._stage.wait(holds)

    def _confirm(self, name: str, holds: bool) -> None:
        self._passed[name] = self._passed[name] and holds

    def verdict(self) -> int:
        """Print the results; returns 0 if all checks passed, 130 after Ctrl-C before the end, else 1."""
        passed, count = self._passed, len(CHECKS)
        marks = {True: "passed", False: "FAILED", None: "not run"}
        out("\n" + "\n".join(f"  {marks[passed.get(name)]:9}  {name}" for name in CHECKS))
        failed = [name for name in CHECKS if passed.get(name) is False]
        missing = [name for name in CHECKS if name not in passed]
        if failed:
            say(self._stage.last_words())
            out(f"demo: {len(failed)} of {count} checks failed: {'; '.join(failed)}")
        elif missing:
            why = (
                "because the demo was interrupted"
                if self._stage.signal
                else "because they need about 30 s (--for 40)"
            )
            out(f"demo: {len(missing)} of {count} checks did not run, {why}: {'; '.join(missing)}")
        else:
            out(f"demo: all {count} checks passed")
            return 0
        return INTERRUPTED if self._stage.signal and not failed else FAILED
