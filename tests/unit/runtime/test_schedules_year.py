"""A year of schedules on virtual time: each occurrence is started once, or skipped with its reason."""

import json
import random
from bisect import bisect_left, bisect_right
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from pytask.adapters.memory.backend import MemoryBackend
from pytask.runtime.services.schedules import Schedules

BERLIN = ZoneInfo("Europe/Berlin")
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
END = datetime(2027, 1, 1, tzinfo=UTC)
CHANGES = (date(2026, 3, 29), date(2026, 10, 25))
CLOSE = 86400.0  # seconds around a change of the clock for which workers look every few seconds
SCHEDULES = {
    "minutely": {"cron": "* * * * *"},
    "interval": {"every": "300"},
    "hourly": {"cron": "0 * * * *", "tz": "Europe/Berlin", "missed": "skip"},
    "daily": {"cron": "30 2 * * *", "tz": "Europe/Berlin"},
    "nightly": {"cron": "0 3 * * *", "tz": "Europe/Berlin", "overlap": "queue", "deadline": "7200"},
    "beside": {"cron": "15 */6 * * *", "tz": "Europe/Berlin", "overlap": "allow", "missed": "all"},
}


def expected():
    """The times of each in ms, computed from dates alone: no code of ours, and no cron library."""
    begin, end = int(BEGIN.timestamp()), int(END.timestamp())
    days = [date(2025, 12, 31) + timedelta(n) for n in range(368)]

    def local(hours, minute, day):
        for hour in hours:
            at = datetime(day.year, day.month, day.day, hour, minute, tzinfo=BERLIN)
            if at != at.astimezone(UTC).astimezone(BERLIN):  # in the gap
                at = datetime(day.year, day.month, day.day, 3, 0, tzinfo=BERLIN)
            yield int(at.timestamp())

    found = {
        "minutely": range(begin, end, 60),
        "interval": range(begin, end, 300),
        "hourly": range(begin, end, 3600),
        "daily": [at for day in days for at in local([2], 30, day)],
        "nightly": [at for day in days for at in local([3], 0, day)],
        "beside": [at for day in days for at in local([0, 6, 12, 18], 15, day)],
    }
    return {name: [at * 1000 for at in times if begin < at < end] for name, times in found.items()}


class World:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.now = BEGIN.timestamp()
        self.backend = MemoryBackend(now=lambda: self.now)
        self.state = self.backend.state
        self.lines = {name: [] for name in SCHEDULES}
        self.ends = {}  # id -> when its run ends
        self.started = []
        for name, fields in SCHEDULES.items():
            self.state.write(f"pytask:schedule:{name}", function="f", **fields)
            self.state.schedules[name] = 0.0
        Schedules()(self.backend.store())

    def run(self):
        while self.now < END.timestamp():
            self.look()
            self.work()
            self.now += self.pause()
        self.now = END.timestamp() - 0.001
        self.look()

    def pause(self):
        changes = [datetime(day.year, day.month, day.day, 2, tzinfo=BERLIN).timestamp() for day in CHANGES]
        if any(abs(self.now - at) < CLOSE for at in changes):
            return self.random.uniform(1, 90)
        # No worker is alive for minutes, sometimes for days, but not on the days of a change.
        long = self.random.random() < 0.025
        pause = self.random.uniform(3600, 3 * 86400) if long else self.random.uniform(1, 1800)
        return min([pause, *(at - CLOSE + 1 - self.now for at in changes if at > self.now)])

    def look(self):
        """Some workers look at once, act in any order, and die at any point."""
        stores = [self.backend.store() for _ in range(self.random.choice([1, 1, 2]))]
        read = [store.schedules.due(256) for store in stores]
        for store, found in zip(stores, read, strict=True):
            firings = [Schedules()._decided(one, found.now) for one in found.due]
            if self.random.random() < 0.1:
                firings = firings[: self.random.randrange(len(firings) + 1)]  # it dies in the middle
            store.schedules.fire(firings)
            if self.random.random() < 0.1:
                store.schedules.fire(firings)  # the answer was lost, and the call is repeated
            self.read_lines()

    def read_lines(self):
        for name in SCHEDULES:
            ring = self.state.occurrences.get(name)
            if ring:
                self.lines[name] += [json.loads(line) for line in reversed(ring)]
                ring.clear()

    def work(self):
        for raw in self.state.queue:
            task_id = raw.decode()
            told = json.loads(self.state.fields(task_id)["scheduled"])
            self.started.append((told["schedule"], round(told["scheduled_for"] * 1000)))
            # Most runs are short, some are longer than the interval.
            self.ends[task_id] = self.now + self.random.choice([1, 1, 1, 1, 4000])
        self.state.queue.clear()
        for task_id, end in list(self.ends.items()):
            if end <= self.now:
                del self.ends[task_id]
                self.state.write(task_id, state="ENDED")


@pytest.mark.slow
def test_each_occurrence_of_a_year_is_started_once_or_skipped_with_its_reason():
    world = World(seed=1)
    world.run()
    for name, times in expected().items():
        covered = dict.fromkeys(times, 0)
        for line in world.lines[name]:
            if "id" in line:
                covered[line["at"]] += 1
                continue
            assert line["reason"] in ("overlap", "late"), line
            last = line.get("until", line["at"])
            row = times[bisect_left(times, line["at"]) : bisect_right(times, last)]
            assert line.get("more") or len(row) == line.get("count", 1), (name, line)
            assert row[0] == line["at"]
            assert row[-1] == last
            for at in row:
                covered[at] += 1
        open_one = int(world.state.fields(f"pytask:schedule:{name}").get("behind", b"0"))
        wrong = [at for at, count in covered.items() if count != 1 and at != open_one]
        assert wrong == [], (name, [datetime.fromtimestamp(at / 1000, BERLIN) for at in wrong[:5]])
        reasons = {line.get("reason", "fired") for line in world.lines[name]}
        assert reasons >= {"fired"} | ({"late"} if name != "beside" else set()), name
    # Each start reached the queue once.
    fired = sorted(
        (name, line["at"]) for name, lines in world.lines.items() for line in lines if "id" in line
    )
    waiting = [json.loads(world.state.fields(raw.decode())["scheduled"]) for raw in world.state.queue]
    waiting = [(told["schedule"], round(told["scheduled_for"] * 1000)) for told in waiting]
    assert sorted(world.started + waiting) == fired
    # On the days of a change the daily ones came once.
    for day, hour in zip(CHANGES, (3, 2), strict=True):
        at = [
            found.replace(tzinfo=None)
            for line in world.lines["daily"]
            if (found := datetime.fromtimestamp(line["at"] / 1000, BERLIN)).date() == day
        ]
        assert len(at) == 1
        assert at[0].hour == hour
