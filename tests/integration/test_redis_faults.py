"""Redis away, slow, deaf, full or read-only, and data that vanishes: what runs on, stops and comes back."""

from contextlib import contextmanager

import gevent
import pytest
import redis

from tests.integration.conftest import HOST, PATIENCE, TAKEOVER, D, F, H, K, Lab, wait_until
from tests.support.evidence import SECOND, now
from tests.support.proxy import Proxy
from tests.support.servers import start_server

pytestmark = pytest.mark.slow

MARGIN = 2.0  # seconds of a worker that runs


def runs_of(lab, ids):
    return {task_id: lab.evidence.runs(task_id) for task_id in ids}


def last_act(lab, ids):
    return max(lab.evidence.last(task_id).at for task_id in ids)


def assert_undisturbed(lab, ids, before, since):
    """The same runs, which went on acting all the time, and were never requeued."""
    assert runs_of(lab, ids) == before
    for task_id in ids:
        assert lab.evidence.longest_pause(task_id, since) < MARGIN
        assert "requeued" not in lab.events.names(task_id)


def wait_renewed(lab, task_id):
    seen = float(lab.field(task_id, "last_update"))
    wait_until(lambda: float(lab.field(task_id, "last_update")) > seen)


@contextmanager
def own_lab(workers, kind="valkey", *arguments, **options):
    with start_server(kind, *arguments, **options) as server, Lab(server, workers) as lab:
        yield lab


def test_redis_killed_and_back_with_its_data(workers):
    """Shorter than D: nothing happens.  Longer: all stops in time, and goes on when Redis is back."""
    with own_lab(workers, appendonly=True) as lab:
        worker = lab.worker("--monitor", "--prestart", "loop")
        ids = lab.started(5)
        (loop,) = wait_until(lambda: {act.id for act in lab.evidence.acts()} - set(ids))  # pre-started
        stop_ids = [*ids, loop]
        before, began = runs_of(lab, stop_ids), now()
        lab.server.kill()
        gevent.sleep(D / 3)
        lab.server.start()
        wait_until(lambda: len(lab.listeners()) == 1)
        shot = lab.push("shot")
        lab.wait_state(shot, "ENDED")
        wait_renewed(lab, ids[0])
        assert_undisturbed(lab, stop_ids, before, began)

        monitors = lab.monitors()
        wait_renewed(lab, ids[0])
        lab.server.kill()
        lost = now()  # no renewal was sent later
        wait_until(lambda: lab.evidence.at_rest(stop_ids), K + PATIENCE, "all tasks stop")
        last = last_act(lab, stop_ids)
        assert (last - lost) / SECOND < K + 0.25
        # And not before it must be.
        assert lab.evidence.ran(worker.pid, last, lost + (D - 2 * H) * SECOND) < H
        wait_until(lambda: "lost for more than 6 s" in worker.log)
        assert worker.code is None
        lab.server.start()
        lab.wait_acting(ids, since=now())
        for task_id in ids:
            wait_until(lambda t=task_id: lab.run(t) == lab.evidence.runs(t)[-1])
            assert len(lab.evidence.runs(task_id)) == 2
        wait_until(lambda: {a.id for a in lab.evidence.acts(kind="act")} - {*ids, loop, shot})  # a new loop
        wait_until(lambda: lab.monitors() - monitors, why="a new monitor sweeps")
        wait_until(lambda: lab.redis.hlen("pytask:runs") == len(ids) + 2)
        assert not lab.redis.exists(loop)
        lab.evidence.check()


def test_a_link_that_is_cut_stalls_or_dies(lab):
    """Cuts and a stall shorter than D disturb nobody; after one longer than D the tasks are elsewhere."""
    with Proxy(lab.server.port) as proxy:
        cut_off = lab.worker(url=proxy.url, max_tasks=6)
        ids = lab.started(6)
        before, began = runs_of(lab, ids), now()
        for _ in range(4):
            proxy.cut()
            gevent.sleep(0.3)
        wait_until(lambda: len(lab.listeners()) == 1)
        proxy.blackhole()
        gevent.sleep(D / 3)
        proxy.pass_()
        wait_renewed(lab, ids[0])
        wait_until(lambda: len(lab.listeners()) == 1)
        run = lab.run(ids[0])
        lab.control(ids[0], "reload")
        lab.wait_new_run(ids[0], run)
        before[ids[0]] = lab.evidence.runs(ids[0])
        assert_undisturbed(lab, ids, before, began)

        other = lab.worker("--monitor")
        proxy.blackhole()
        lost = now()
        lab.wait_acting(ids, since=lost, pid=other.pid, timeout=TAKEOVER + PATIENCE)
        last = max(act.at for act in lab.evidence.acts() if act.pid == cut_off.pid)
        assert (last - lost) / SECOND < K + 0.25
        after = runs_of(lab, ids)
        proxy.pass_()  # what was held arrives now: late renewals and late releases
        wait_until(lambda: len(lab.listeners()) == 2)
        shots = lab.push_many(20, "shot")
        lab.wait_state(shots, "ENDED")
        assert runs_of(lab, ids) == after
        assert cut_off.code is None
        assert [lab.events.names(i).count("requeued") for i in ids] == [1] * 6
        lab.evidence.check()


def test_a_deaf_worker_takes_nothing_and_what_it_took_is_healed(lab):
    """Its requests arrive, the replies never do."""
    with Proxy(lab.server.port) as proxy:
        deaf = lab.worker(url=proxy.url)
        mine = lab.started(5)
        lab.worker("--monitor")
        proxy.drop_replies()
        lost = now()
        # While its gate is open it claims without hearing of it; such claims are released again.
        shots = []
        while now() - lost < (F + 1) * SECOND:
            shots += lab.push_many(3, "shot")
            gevent.sleep(0.1)
        lab.wait_state(shots, "ENDED", 2 * TAKEOVER + PATIENCE)
        late = lab.push_many(20, "shot")
        lab.wait_state(late, "ENDED")
        assert {lab.evidence.last(i).pid for i in late} != {deaf.pid}
        assert not [a for a in lab.evidence.acts() if a.pid == deaf.pid and a.id in set(shots + late)
                    and a.at > lost + F * SECOND]  # fmt: skip
        for task_id in shots + late:
            assert lab.events.names(task_id).count("ended") == 1
        # Its own runs stop after D, and go on with the other.
        lab.wait_acting(mine, since=lost, pid=lab.workers.all[1].pid, timeout=TAKEOVER + PATIENCE)
        assert max(a.at for a in lab.evidence.acts() if a.pid == deaf.pid) - lost < (K + 0.25) * SECOND
        proxy.pass_()
        wait_until(lambda: len(lab.listeners()) == 2)
        lab.evidence.check()


def test_lost_replies_of_claims_and_ends_are_repeated_without_harm(lab):
    with Proxy(lab.server.port) as proxy:
        lab.worker("--monitor", url=proxy.url)
        (witness,) = lab.started(1)
        before = runs_of(lab, [witness])
        shots = []
        for _ in range(15):
            proxy.cut_after_request(2, containing="EVALSHA")
            shots += lab.push_many(4, "shot")
            gevent.sleep(0.15)
        lab.wait_state(shots, "ENDED", TAKEOVER + PATIENCE)
        for task_id in shots:
            wait_until(lambda t=task_id: "ended" in lab.events.names(t))
            assert lab.events.names(task_id).count("ended") == 1
            assert lab.evidence.acts(task_id)
        assert runs_of(lab, [witness]) == before
        assert lab.state(witness) == "RUNNING"
        lab.evidence.check()


@pytest.mark.parametrize("kind", ["valkey", "redis62"])
def test_a_full_redis_stops_nobody(workers, kind):
    """Renewals and ends pass, longer than D; claims wait, and nothing is lost."""
    with own_lab(workers, kind) as lab:
        lab.worker("--monitor", max_tasks=3)
        ids = lab.started(2)
        (ending,) = lab.started(1, **{"for": D})  # not before all below is set up, on any machine
        waiting = lab.push_many(2, "shot")
        before, began = runs_of(lab, ids), now()
        assert lab.state(ending) == "RUNNING"
        lab.redis.config_set("maxmemory", 1)
        with pytest.raises(redis.ResponseError):
            lab.redis.set("x", "y")
        lab.wait_state(ending, "ENDED")
        while now() - began < (D + 2 * H) * SECOND:
            gevent.sleep(0.1)
        assert_undisturbed(lab, ids, before, began)
        assert not lab.evidence.acts(waiting[0])
        assert lab.redis.llen("new-task") == 2
        lab.redis.config_set("maxmemory", 0)
        lab.wait_state(waiting, "ENDED")
        assert_undisturbed(lab, ids, before, began)
        lab.evidence.check()


def test_a_redis_that_refuses_writes(workers):
    """READONLY, MISCONF, paused writes: not acknowledged; shorter than D it disturbs nobody."""
    with own_lab(
        workers, "valkey", "--enable-protected-configs", "yes", "--enable-debug-command", "yes"
    ) as lab:
        worker = lab.worker("--monitor", max_tasks=5)
        ids = lab.started(3)
        before, began = runs_of(lab, ids), now()

        def refusals():
            return worker.log.count("does not acknowledge")

        def resumes():
            wait_renewed(lab, ids[0])
            lab.wait_state(lab.push("shot"), "ENDED")
            assert_undisturbed(lab, ids, before, began)

        refused_before = refusals()
        lab.redis.execute_command("REPLICAOF", HOST, "1")
        wait_until(lambda: refusals() > refused_before)
        gevent.sleep(D / 4)
        lab.redis.execute_command("REPLICAOF", "NO", "ONE")
        resumes()

        gone = lab.server.folder / "gone"
        gone.mkdir()
        lab.redis.config_set("dir", str(gone))
        gone.rmdir()
        lab.redis.config_set("save", "3600 1")
        lab.redis.set("dirty", "1")
        refused_before = refusals()
        lab.redis.bgsave()
        wait_until(lambda: refusals() > refused_before)
        gevent.sleep(D / 4)
        lab.redis.config_set("save", "")
        lab.redis.config_set("stop-writes-on-bgsave-error", "no")
        resumes()

        lab.redis.execute_command("CLIENT", "PAUSE", int(D / 3 * 1000), "WRITE")
        gevent.sleep(D / 3)
        resumes()
        lab.evidence.check()


def test_all_data_vanishes(lab):
    """FLUSHALL: the runs stop, leave no ghosts, and what is pushed again runs again."""
    lab.worker("--monitor")
    ids = lab.started(10) + lab.started(5, "loop")
    lab.redis.flushall()
    lost = now()
    wait_until(lambda: lab.evidence.at_rest(ids))
    assert (last_act(lab, ids) - lost) / SECOND < D  # a renewal tells of it, not the end of the leases
    # The monitor is back; it is all there is.
    wait_until(lambda: lab.redis.zcard("pytask:monitors"))
    (monitor,) = wait_until(lambda: lab.redis.hkeys("pytask:runs"))
    wait_until(lambda: not [i for i in lab.redis.hkeys("pytask:runs") if i in ids])
    hashes = [key for key in lab.redis.scan_iter(_type="hash") if not key.startswith("pytask:")]
    assert hashes == [monitor]
    again = [lab.push("tick", task_id=task_id) for task_id in ids[:5]]
    lab.wait_acting(again, since=now())
    lab.control(again[0], "stop")
    lab.wait_state(again[0], "STOPPED")
    for key in lab.redis.scan_iter(_type="hash"):
        assert key.startswith("pytask:") or lab.redis.hexists(key, "function")
    lab.evidence.check()


def test_the_registry_and_the_leases_vanish_under_load(lab):
    workers = [lab.worker("--monitor", "--slow-sweep"), lab.worker("--monitor", "--slow-sweep")]
    ids = lab.started(20)
    before, began = runs_of(lab, ids), now()
    shots = []
    for number in range(12):
        shots += lab.push_many(5, "shot")
        lab.redis.lpush("new-task", *ids[:5])  # a push of what runs must not start it again
        lab.redis.delete(
            *(("pytask:runs",), ("pytask:leases",), ("pytask:runs", "pytask:leases"))[number % 3]
        )
        gevent.sleep(0.15)
    lab.redis.script_flush()
    lab.wait_state(shots, "ENDED", 2 * TAKEOVER + PATIENCE)
    wait_until(lambda: set(ids) <= set(lab.redis.hkeys("pytask:runs")))
    wait_until(lambda: set(ids) <= set(lab.redis.zrange("pytask:leases", 0, -1)))
    assert_undisturbed(lab, ids, before, began)
    assert all(worker.code is None for worker in workers)
    lab.evidence.check()


def test_a_half_open_subscription_is_found(lab):
    """The pub/sub connection alone goes dead without a sign; renewals go on beside it."""
    with Proxy(lab.server.port) as proxy:
        worker = lab.worker("--feed-port", proxy.port)
        (task,) = lab.started(1)
        before, began = runs_of(lab, [task]), now()
        (session,) = lab.listeners()
        for silence in (proxy.blackhole, proxy.drop_replies):
            found = worker.log.count("control messages are not received")
            silence()
            wait_until(lambda n=found: worker.log.count("control messages are not received") > n)
            proxy.cut()
            proxy.pass_()
            wait_until(lambda: lab.listeners() == {session})
            run = lab.run(task)
            lab.control(task, "reload")
            lab.wait_new_run(task, run)
        assert lab.evidence.longest_pause(task, began) < MARGIN
        assert before[task] == lab.evidence.runs(task)[:1]
        lab.control(task, "stop")
        lab.wait_state(task, "STOPPED")
        lab.evidence.check()
