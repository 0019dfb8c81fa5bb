"""`python -m tests.soak --minutes 60 --seed N --report FILE --json FILE`: the soak.

A Valkey of its own, three worker processes at the real times, 300 long tasks and 20 short ones a second,
and about forty faults.  Exit code 1 on a violation.  A short form: `--minutes 3 --scale 0.1`.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from pytask.domain.crashes import crash_pause
from tests.soak.history import SECOND, History, Reader, Takeover
from tests.soak.load import Load
from tests.soak.sampler import Sampler
from tests.soak.schedule import OVER_T, WORKERS, plan
from tests.soak.stage import Stage, nothing
from tests.soak.verdict import compare, markdown, violations

BAR = 116  # T + 2I + H + 1 s
HOLDS_CONTROLS = (*OVER_T, "sigterm", "recreate", "redis-kill", "redis-stop", "pause-write", "stop-20")


class Soak:
    """Conducts the faults, and gathers what was found."""

    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.plan = plan(options.minutes * 60, options.scale, options.seed, options.leave_out)
        for name in ("evidence", "gauge"):
            (folder / name).touch()
        self.stage = Stage(folder, options)
        self.load = Load(self.stage, options, random.Random(options.seed + 1))
        self.history = History()
        self.history.long_gap = 5 * options.scale
        self.reader = Reader(folder / "evidence", self.history)
        self.lock = threading.RLock()  # of the history
        self.begin = time.monotonic()
        self.sampler = Sampler(self.stage, self.begin)
        self.takeovers, self.faults, self.troubles, self.rest, self.away = [], [], [], [], []
        self.sizes = []
        self.over = threading.Event()
        self.finished = False

    # -- the course -----------------------------------------------------------------------------------------

    def run(self):
        for name in WORKERS:
            self.stage.start(name)
        self.load.start()
        watcher = threading.Thread(target=self._watch, daemon=True)
        watcher.start()
        self._sleep_until(20 * self.options.scale)
        self.load.spread(self.begin + 70 * self.options.scale)
        steps = [(fault.at, self._fault, fault) for fault in self.plan.faults]
        steps += [
            (begin, self._calm, window)
            for (begin, _), window in zip(self.plan.calms, self.plan.windows, strict=True)
        ]
        for at, step, what in sorted(steps, key=lambda one: one[0]):
            self._sleep_until(at)
            step(what)
        self._sleep_until(self.options.minutes * 60)
        self.load.stop()
        self._come_to_rest()
        self.over.set()
        watcher.join(60)
        self.finished = True

    def _sleep_until(self, at):
        time.sleep(max(0.0, self.begin + at - time.monotonic()))

    def _fault(self, fault):
        if fault.kind in HOLDS_CONTROLS:
            self.load.paused.set()
            self.load.control_idle.wait(60 * self.options.scale)
        pid = self.stage.pid(fault.target) if fault.target else None
        since = time.monotonic_ns()
        print(f"{time.monotonic() - self.begin:7.1f} s  {fault.kind} {fault.target}", flush=True)
        self.faults.append(
            {"at": time.monotonic() - self.begin, "kind": fault.kind, "target": fault.target, "pid": pid}
        )
        end = self._begin(fault)
        if fault.kind in (*OVER_T, "sigterm"):
            self._expect_takeover(fault, pid, since)
        time.sleep(fault.lasts)
        end()
        self._after(fault, pid, since)
        self._sleep_until(fault.free_at)
        self.load.paused.clear()

    def _begin(self, fault):
        if fault.kind in ("recreate", "duplicates"):
            getattr(self.load, fault.kind)()
            return nothing
        if fault.target or fault.kind == "redis-kill":
            return self.stage.begin(fault)
        return self.load.retry(lambda _client: self.stage.begin(fault))  # a connection may be stale

    def _expect_takeover(self, fault, pid, since):
        time.sleep(0.2)
        with self.lock:
            self.reader.catch_up()
            ids = [name for name in self.history.living_in(pid) if name[0] in "Ls" and len(name) < 20]
            label = f"{fault.kind} {fault.target} at {since / SECOND - self.begin:.0f} s"
            takeover = Takeover(label, since, ids, self._pauses(ids))
            self.history.watch(takeover, ids)
            for name in self.load.resting:
                self.history.dismiss(name)
            self.takeovers.append(takeover)

    def _pauses(self, ids):
        """id -> seconds that it waits longer than others, by the crashes counted against it so far."""

        def read(client):
            pipe = client.pipeline(transaction=False)
            for name in ids:
                pipe.hget(name, "crashes")
            return pipe.execute()

        expiry = 90 * self.options.scale
        crashes = zip(ids, self.load.retry(read), strict=True)
        return {name: crash_pause(int(count), expiry) for name, count in crashes if count}

    def _after(self, fault, pid, since):
        if fault.kind in ("redis-kill", "redis-stop", "pause-write", "pubsub-cut"):
            # A task acts `end` a moment before its end is committed: that may be the moment of the fault.
            since -= 2 * SECOND
            self.away.append((since, time.monotonic_ns() + int(15 * SECOND * self.options.scale)))
        if fault.kind == "stop-100":
            time.sleep(1)
            if self.stage.pid(fault.target) == pid and self.stage.workers[fault.target].poll() is None:
                self.troubles.append(
                    f"{fault.target} (pid {pid}) lived on after it was stopped for longer than K"
                )

    def _calm(self, window):
        self.load.paused.set()
        self.load.control_idle.wait(60 * self.options.scale)
        self.sizes.append(self.load.spread(self.begin + window[0] - 5 * self.options.scale))
        self._sleep_until(window[1])
        self.load.paused.clear()

    def _come_to_rest(self):
        """All short tasks ended, all long ones running; then all workers leave, and nothing is registered."""
        until = time.monotonic() + 150 * self.options.scale + 10
        while time.monotonic() < until and (self._lost_short() or self._lost_long()):
            time.sleep(0.5)
        self.final_lost = (self._lost_short(), self._lost_long())
        self.stage.closing = True
        for name, process in self.stage.workers.items():
            self.stage.excused[process.pid] = "sigterm"
            process.send_signal(signal.SIGTERM)
            code = process.wait(40)
            if code:
                self.rest.append(f"{name} left with {code}")
        client = self.stage.redis
        registered = {key: client.hgetall(key) for key in ("pytask:runs",) if client.hlen(key)}
        registered |= {key: client.zcard(key) for key in ("pytask:leases",) if client.zcard(key)}
        self.rest += [f"{key} holds {what}" for key, what in registered.items()]
        waiting = client.lrange("new-task", 0, -1)
        if sorted(waiting) != sorted(self.load.longs):
            self.rest.append(f"the queue holds {len(waiting)} ids, {len(set(waiting))} of them different")

    def _lost_short(self):
        with self.lock:
            self.reader.catch_up()
            return [f"s{n}" for n in range(self.load.pushed) if f"s{n}" not in self.history.ended]

    def _lost_long(self):
        with self.lock:
            self.reader.catch_up()
            late = time.monotonic_ns() - int(5 * SECOND * max(self.options.scale, 0.4))
            lasts = self.history.lasts
            return [name for name in self.load.longs if name not in lasts or lasts[name].at < late]

    # -- watching -------------------------------------------------------------------------------------------

    def _watch(self):
        sampled = reported = 0.0
        while not self.over.wait(0.5 * self.options.scale):
            now = time.monotonic()
            try:
                self.stage.supervise()
                if now - sampled >= self.options.sample and not self.load.ending.is_set():
                    sampled = now
                    self.sampler.sample()
                    with self.lock:
                        self.reader.catch_up()
                if now - reported >= 60:
                    reported = now
                    self.report()
            except Exception as error:
                self.troubles.append(f"watching: {error!r}")

    def facts(self):
        load, history, longs = self.load, self.history, set(self.load.longs)
        unheard = sorted(history.ended - load.heard - {n for n in history.ended if n[0] != "s"})
        unexplained = [n for n in unheard if not any(a <= history.lasts[n].at <= b for a, b in self.away)]
        lost = self.final_lost if self.finished else ([], [])
        gaps = sorted(last.gap / SECOND for name, last in history.lasts.items() if name in longs) or [0]
        runs = [last.runs for name, last in history.lasts.items() if name in longs] or [0]
        times = sorted(seconds for word, _, seconds, _ in load.controls if word != "start") or [0]
        exits = {pid: code for _, pid, code, _ in self.stage.exits}
        return {
            "finished": self.finished,
            "minute": (time.monotonic() - self.begin) / 60,
            "minutes": self.options.minutes,
            "scale": self.options.scale,
            "seed": self.options.seed,
            "bar_of_recovery_s": BAR * self.options.scale,
            "acts": history.acts,
            "acts_by_kind": dict(history.kinds),
            "long_tasks": len(load.longs),
            "short_tasks_pushed": load.pushed,
            "short_tasks_ended": len(history.ended),
            "short_tasks_run_again": sum(v.runs - 1 for n, v in history.lasts.items() if n[0] == "s"),
            "malformed_pushed": load.malformed,
            "overlaps": history.overlaps,
            "lost_short": lost[0],
            "lost_long": lost[1],
            "runs_of_long_tasks": {"min": min(runs), "max": max(runs), "sum": sum(runs)},
            "longest_gap_of_long_tasks_s": {"median": gaps[len(gaps) // 2], "max": gaps[-1]},
            "controls_done": len(load.controls),
            "control_effect_s": {"median": times[len(times) // 2], "max": times[-1]},
            "events_heard": load.events,
            "ended_heard": len(load.heard),
            "ended_unheard_while_redis_was_away": len(unheard) - len(unexplained),
            "unheard": unexplained if self.finished else [],
            "exits": self.stage.exits,
            "unexpected_exits": self.stage.unexpected_exits(),
            "troubles": self.troubles + load.troubles,
            "rest": self.rest,
            "spread_before_the_windows": {str(at): sizes for at, sizes in enumerate(self.sizes)},
            "dropped_for_want_of_room": self.plan.dropped,
            "faults_done": len(self.faults),
            "faults": [fault | {"exits": exits.get(fault["pid"], "")} for fault in self.faults],
            "takeovers": [
                (one.label, sorted(one.missing) if self.finished else [], one.seconds, one.beyond)
                for one in self.takeovers
            ],
        }

    def report(self):
        """Write both files; the violations."""
        with self.lock:
            facts = self.facts()
            flat = (
                compare(dict(self.sampler.series), self.plan.windows, self.sampler.lives)
                if self.finished
                else []
            )
        found = violations(facts, flat, BAR * self.options.scale)
        write(self.options.report, markdown(facts, flat, found))
        rows = [
            row._asdict() | {"growth": row.growth, "holds": row.holds, "shown_only": shown}
            for row, shown in flat
        ]
        series = {
            f"{owner} {figure}": values for (owner, figure), values in list(self.sampler.series.items())
        }
        write(
            self.options.json,
            json.dumps({"facts": facts, "flat": rows, "violations": found, "series": series}),
        )
        return found


def write(path, text):
    whole = Path(f"{path}.part")
    whole.write_text(text)
    whole.replace(path)


def arguments():
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--scale", type=float, default=1, help="of all times of the protocol and of the faults"
    )
    parser.add_argument("--report", type=Path, default=Path("soak.md"))
    parser.add_argument("--json", type=Path, default=Path("soak.json"))
    parser.add_argument("--long", type=int, help="long tasks; 300, or 60 in a scaled form")
    parser.add_argument("--rate", type=float, default=20, help="short tasks a second")
    parser.add_argument("--max-tasks", type=int, default=400)
    parser.add_argument("--leave-out", default="", help="kinds of faults, with commas")
    options = parser.parse_args()
    options.long = options.long or (300 if options.scale == 1 else 60)
    options.leave_out = tuple(filter(None, options.leave_out.split(",")))
    options.sample = (
        10 * options.scale
        if options.minutes * options.scale > 0.2 and options.minutes > 20 * options.scale
        else 2
    )
    options.keep = max(1, round(60 * options.scale))
    return options


def leave(*_signal):
    sys.exit(3)


def main():
    options = arguments()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    folder = Path(tempfile.mkdtemp(prefix="pytask-soak-"))
    soak = None
    found = ["it did not finish"]
    try:
        soak = Soak(options, folder)
        soak.run()
        found = soak.report()
    finally:
        if soak:
            soak.over.set()
            if not soak.finished:
                soak.report()
            soak.stage.close()
        if found:
            print(f"the evidence and the logs are kept in {folder}", flush=True)
        else:
            shutil.rmtree(folder)
    print("\n".join(found) or "no violation", flush=True)
    os._exit(bool(found))  # whatever threads still do


if __name__ == "__main__":
    main()
