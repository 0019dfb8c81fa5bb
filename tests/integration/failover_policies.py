"""Restarts, delays and a schedule under a failover, judged by what the tasks wrote outside Redis.

A failover may lose what the old primary acknowledged in its last seconds, also a planned one, as SENTINEL
FAILOVER pauses no writes.  So a count may go back to an earlier value, and a task that has ended may run
again; but no failure counts twice, nothing that the new primary knows is lost, and nothing starts before its
time.
"""

import json
import time
from datetime import UTC, datetime
from itertools import pairwise

from tests.integration.conftest import PATIENCE, wait_until
from tests.support.evidence import SECOND, now

SCHEDULE = "beat"
STEP = 1000  # ms between two occurrences
DELAY = 6.0  # seconds: due during the failover, or soon after it
LIMIT = 20  # restarts, as in the policy of the program


class Policies:
    """Some tasks of each kind, written as with redis-cli."""

    def __init__(self, site):
        self._site, self._evidence = site, site.recent_workers.evidence
        self.flapping = site.push(site.redis, 3, "flap", stem="f")
        self.delayed = [f"d{n}" for n in range(5)]
        self.due = time.time() + DELAY
        for task_id in self.delayed:
            site.redis.hset(task_id, mapping={"function": "shot", "not_before": f"{self.due:.3f}"})
            site.redis.lpush("new-task", task_id)
        fields = {"function": "shot", "every": "1", "overlap": "allow", "missed": "all", "deadline": "3600"}
        site.redis.hset(f"pytask:schedule:{SCHEDULE}", mapping=fields)
        site.redis.zadd("pytask:schedules", {SCHEDULE: 0})
        wait_until(lambda: site.redis.llen(f"pytask:occurrences:{SCHEDULE}"), PATIENCE, "an occurrence")

    def judge(self, redis):
        """Wait for their ends, then compare."""
        wait_until(lambda: set(map(self._state(redis), self.flapping)) == {"ERROR"}, 3 * PATIENCE)
        wait_until(lambda: set(map(self._state(redis), self.delayed)) == {"ENDED"}, PATIENCE)
        redis.hset(f"pytask:schedule:{SCHEDULE}", "paused", "1")
        lines = [json.loads(line) for line in redis.lrange(f"pytask:occurrences:{SCHEDULE}", 0, -1)]
        started = [one for one in reversed(lines) if "id" in one]
        wait_until(lambda: self._acted() >= {one["id"] for one in started}, PATIENCE, "each occurrence acts")
        self._counts(redis)
        self._delays()
        self._occurrences(lines, started)

    @staticmethod
    def _state(redis):
        return lambda task_id: redis.hget(task_id, "state")

    def _acted(self):
        return {act.id for act in self._evidence.acts() if act.id.startswith(f"{SCHEDULE}@")}

    def _counts(self, redis):
        for task_id in self.flapping:
            kinds = [self._evidence.of_run(run)[-1].kind for run in self._evidence.runs(task_id)]
            found = [(number, kind) for kind, _, number in (text.partition(":") for text in kinds)]
            found = [(int(number), kind == "fail") for number, kind in found]
            assert found[0][0] == 1
            for (before, failed), (after, _) in pairwise(found):
                assert 1 <= after <= before + failed, found
            assert found[-1] == (LIMIT + 1, True)
            assert f"gave up after {LIMIT} restarts" in redis.hget(task_id, "error")

    def _delays(self):
        offset = time.time() - now() / SECOND
        for task_id in self.delayed:
            first = self._evidence.acts(task_id)[0]
            assert first.at / SECOND + offset >= self.due - 0.005

    def _occurrences(self, lines, started):
        """Each second is a line: of one that was started, or of a row of skipped ones."""
        covered = [one["at"] + n * STEP for one in lines for n in range(one.get("count", 1))]
        assert sorted(covered) == list(range(min(covered), max(covered) + 1, STEP))
        for one in started:
            at = datetime.fromtimestamp(one["at"] / 1000, UTC)
            assert one["id"] == f"{SCHEDULE}@{at:%Y-%m-%dT%H:%M:%SZ}"
