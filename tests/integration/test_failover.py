"""Sentinel with real processes: planned, by death, by a freeze; and failovers that lose writes."""

import contextlib
import json
import re
import signal

import gevent
import pytest
import redis
from redis.sentinel import Sentinel

from pytask.adapters.redis.server_checks import risks
from tests.integration.cluster_lab import ClusterLab
from tests.integration.conftest import PATIENCE, D, G, H, K, wait_until
from tests.integration.failover_policies import Policies
from tests.integration.test_cluster_faults import move_by_keys
from tests.support.cluster import start_cluster
from tests.support.evidence import SECOND, now
from tests.support.servers import HOST, MASTER_NAME, Trio, start_server

pytestmark = pytest.mark.slow

E = 8.0
WITHOUT_CLAIMS = PATIENCE  # seconds, beside E where acknowledged writes may be lost


class Deployment:
    """A trio, and a client's view of it.  It fails over when a test wants it, however slow the machine is."""

    def __init__(self, trio, recent_workers):
        self.trio, self.recent_workers = trio, recent_workers
        self.sentinel = Sentinel([(HOST, s.port) for s in trio.sentinels], socket_timeout=5)
        self.redis = self.sentinel.master_for(MASTER_NAME, decode_responses=True)
        self.direct = [redis.Redis(HOST, s.port, decode_responses=True) for s in trio.servers]
        wait_until(self._complete, 2 * PATIENCE, "sentinels know each other and both replicas")
        self.sentinels_wait(60)

    def _complete(self):
        for one in self.trio.sentinels:
            with redis.Redis(HOST, one.port, decode_responses=True) as client:
                state = client.sentinel_master(MASTER_NAME)
            if (state["num-slaves"], state["num-other-sentinels"]) != (2, 2):
                return False
        return all(client.info("replication")["master_link_status"] == "up" for client in self.direct[1:])

    def sentinels_wait(self, seconds):
        """How long they hear nothing of a server before they take it for down."""
        for one in self.trio.sentinels:
            with redis.Redis(HOST, one.port) as client:
                words = ("down-after-milliseconds", 1000 * seconds)
                client.execute_command("SENTINEL", "SET", MASTER_NAME, *words)

    def primary_port(self):
        with contextlib.suppress(redis.RedisError):
            return self.sentinel.discover_master(MASTER_NAME)[1]
        return None

    def new_primary(self):
        """A client for it alone: `redis` may still hold a connection to the old one, which takes writes."""
        port = self.primary_port()
        ports = [server.port for server in self.trio.replicas]
        return self.direct[1 + ports.index(port)] if port in ports else None

    def safe(self):
        """What the marker says of the primary, at each server."""
        return {client.hget("pytask:incarnation", "safe") for client in self.direct}

    def wait_failover(self):
        wait_until(lambda: self.primary_port() not in (None, self.trio.primary.port), 60, "a new primary")
        self.sentinels_wait(60)

    def worker(self, *words, url=None, **options):
        worker = self.recent_workers.start(url or self.trio.url, *words, **options)
        at = self.direct[0]
        wait_until(lambda: worker.code is not None or worker.name in str(at.hgetall("pytask:workers:info")))
        assert worker.code is None, worker.log
        return worker

    def push(self, client, number, function="tick", stem="t"):
        ids = [f"{stem}{n}" for n in range(number)]
        for task_id in ids:
            client.hset(task_id, mapping={"function": function, "data": json.dumps({})})
            client.lpush("new-task", task_id)
        return ids

    def wait_acting(self, ids, since=0, timeout=PATIENCE):
        def missing():
            return set(ids) - {act.id for act in self.recent_workers.evidence.acts() if act.at > since}

        wait_until(lambda: not missing(), timeout, lambda: f"acts of {missing()}")

    def cut_replicas(self):
        """The replicas get no more of what the primary acknowledges."""
        primary = self.direct[0]
        with primary.pipeline(transaction=False) as pipe:  # WAIT asks for its connection's own writes
            pipe.publish("written", "").execute_command("WAIT", 2, 4000)
            assert pipe.execute()[-1] == 2
        primary.execute_command("ACL", "SETUSER", "default", "-psync", "-sync", "-replconf")
        primary.execute_command("CLIENT", "KILL", "TYPE", "replica")
        wait_until(lambda: primary.info("replication")["connected_slaves"] == 0, why="no replica left")

    def close(self):
        for client in (self.redis, *self.direct):
            client.close()
            client.connection_pool.disconnect()
        for one in self.sentinel.sentinels:
            one.close()
            one.connection_pool.disconnect()


@pytest.fixture
def deploy(workers):
    with contextlib.ExitStack() as stack:

        def start(*settings):
            made = Deployment(stack.enter_context(Trio(*settings)), workers)
            stack.callback(made.close)
            return made

        yield start


def planned(site):
    with redis.Redis(HOST, site.trio.sentinels[0].port) as sentinel:
        sentinel.execute_command("SENTINEL", "FAILOVER", MASTER_NAME)


def death(site):
    site.sentinels_wait(1)
    site.trio.primary.kill()


def freeze(site):
    site.sentinels_wait(1)
    site.trio.primary.freeze()


@pytest.mark.parametrize("fault", [planned, death, freeze])
@pytest.mark.parametrize("replicas", [0, 1], ids=["unsafe", "min-replicas"])
def test_tasks_go_on_over_a_failover(deploy, fault, replicas):
    site = deploy("--min-replicas-to-write", replicas, "--min-replicas-max-lag", 10)
    recent_workers = site.recent_workers
    for _ in range(2):
        site.worker("--monitor", max_tasks=100)
    ids = site.push(site.redis, 30)
    site.wait_acting(ids)
    policies = Policies(site) if fault is freeze else None  # the hardest: for a while there are two primaries
    wait_until(lambda: site.safe() == {str(replicas)}, why="all know how safe the primary is")
    began = now()
    fault(site)
    site.wait_failover()
    took = (now() - began) / SECOND
    switched = now() if fault is planned else began  # until then the old one serves
    wait_until(lambda: push_quietly(site), why="a push to the new primary")
    site.wait_acting(["late0"], timeout=WITHOUT_CLAIMS + (0 if replicas else E))
    without = (recent_workers.evidence.acts("late0")[0].at - switched) / SECOND
    print(f"{fault.__name__}: failed over in {took:.1f} s, without claims for {without:.1f} s")
    site.wait_acting(ids, since=now(), timeout=E + PATIENCE)
    if fault is freeze:
        site.trio.primary.thaw()  # it believes to be the primary, until the sentinels tell it
        awake = now()
        gevent.sleep(2)
        site.wait_acting(ids, since=awake)
    if policies:
        policies.judge(site.new_primary())
    recent_workers.evidence.check()
    if took < D - 4 * H:  # else it may be D until a worker gets through, and its runs stop as they must
        assert all(len(recent_workers.evidence.runs(task_id)) == 1 for task_id in ids), (
            "a run was interrupted"
        )
        assert max(recent_workers.evidence.longest_pause(task_id, began) for task_id in ids) < G
    assert "a different server answers" in recent_workers.logs()


def push_quietly(site):
    with contextlib.suppress(redis.RedisError):
        new = site.new_primary()
        return new and new.info("replication")["role"] == "master" and site.push(new, 1, "shot", stem="late")
    return None


def lose_claims(site, *words, cut_off):
    """Claims that only the old primary knows; it freezes, and a replica without them takes over.

    `cut_off`: the owner knows the old primary only.  Returns the ids, whether claimed or not.
    """
    # Started before, and held: Sentinel takes no replica whose link was down for ten seconds before it missed
    # the primary, and a busy machine may need as long for two workers.
    site.owner = site.worker(*words, name="owner", url=site.trio.primary.url if cut_off else None)
    site.other = site.worker(*words, name="other")
    wait_until(lambda: site.direct[0].exists("pytask:incarnation"), why="the marker")
    for worker in (site.owner, site.other):
        worker.signal(signal.SIGSTOP)
    # Behind a wait that has begun there is a claim, which the server would execute.
    wait_until(lambda: not site.redis.info("clients")["blocked_clients"], why="their waits are over")
    ids = site.push(site.redis, 10)
    site.cut_replicas()
    site.owner.signal(signal.SIGCONT)
    return ids


def fail_over_without_claims(site, ids):
    site.wait_acting(ids)
    site.other.signal(signal.SIGCONT)
    freeze(site)
    site.wait_failover()


def test_lost_claims_are_put_back_by_their_owner(deploy):
    site = deploy()
    ids = lose_claims(site, cut_off=False)
    fail_over_without_claims(site, ids)
    back = re.compile(r"(\d+) of \1 runs? that it had lost")  # in one renewal, or in several
    wait_until(lambda: sum(map(int, back.findall(site.owner.log))) == 10, why=lambda: site.owner.log)
    # The other takes tasks again after the embargo, and none of these is there to be taken.
    wait_until(lambda: push_quietly(site), why="a push to the new primary")
    site.wait_acting(["late0"], timeout=E + PATIENCE)
    site.wait_acting(ids, since=now())
    site.recent_workers.evidence.check()
    assert all(len(site.recent_workers.evidence.runs(task_id)) == 1 for task_id in ids)
    wait_until(lambda: set(site.new_primary().hkeys("pytask:runs")) == set(ids), why="only these run")


def test_an_owner_that_is_cut_off_is_dead_before_its_lost_claims_are_taken(deploy):
    site = deploy()
    ids = lose_claims(site, cut_off=True)
    fail_over_without_claims(site, ids)
    wait_until(lambda: all(len(site.recent_workers.evidence.runs(i)) == 2 for i in ids), D + E + PATIENCE)
    site.wait_acting(ids, since=now())
    site.recent_workers.evidence.check()


def test_without_the_embargo_both_act(deploy):
    """Or the two tests above would prove nothing."""
    site = deploy()
    ids = lose_claims(site, "--no-embargo", cut_off=True)
    fail_over_without_claims(site, ids)
    wait_until(lambda: all(len(site.recent_workers.evidence.runs(i)) == 2 for i in ids), E + PATIENCE)
    wait_until(site.recent_workers.evidence.overlaps, D, "acts of both runs")


def test_with_min_replicas_there_are_no_claims_to_lose(deploy):
    site = deploy("--min-replicas-to-write", 1, "--min-replicas-max-lag", 10)
    ids = lose_claims(site, cut_off=True)
    wait_until(lambda: "NOREPLICAS" in site.owner.log, why="the primary refuses")
    freeze(site)
    site.wait_failover()
    fresh = site.recent_workers.start(site.trio.url, name="fresh")
    site.wait_acting(ids, timeout=WITHOUT_CLAIMS + E)
    site.recent_workers.evidence.check()
    assert {act.pid for act in site.recent_workers.evidence.acts()} == {fresh.pid}


def test_a_save_that_the_new_server_does_not_know_is_stored_again(deploy, tmp_path):
    """Redis acknowledged it, and lost it with the old primary; the task does not save again."""
    site = deploy()
    site.worker("--monitor")
    go = tmp_path / "go"
    site.redis.hset("a", mapping={"function": "save-once", "data": json.dumps({"when": str(go)})})
    site.redis.lpush("new-task", "a")
    site.wait_acting(["a"])
    site.cut_replicas()
    go.touch()
    wait_until(lambda: site.direct[0].hget("a", "saved") == '"kept"', why="the old primary has it")
    assert [client.hget("a", "saved") for client in site.direct[1:]] == [None, None]
    freeze(site)
    site.wait_failover()
    wait_until(lambda: site.new_primary().hget("a", "saved") == '"kept"', why="the new primary has it")
    assert len(site.recent_workers.evidence.runs("a")) == 1
    site.recent_workers.evidence.check()


# -- one server --------------------------------------------------------------------------------------------


def test_after_flushall_tasks_come_back_where_that_is_wanted(lab):
    lab.worker("--on-data-loss", "restore", max_tasks=20)
    ids = lab.started(10, "tick", colour="red")
    before = {task_id: lab.run(task_id) for task_id in ids}
    lab.redis.flushall()
    for task_id in ids:
        run = lab.wait_new_run(task_id, before[task_id], timeout=H + G + PATIENCE)
        assert run != before[task_id]
        assert json.loads(lab.field(task_id, "data")) == {"colour": "red"}
    lab.evidence.check()


def test_what_tasks_saved_comes_back_with_them_after_flushall(lab):
    lab.worker("--on-data-loss", "restore", max_tasks=20)
    ids = lab.started(5, "saver")
    wait_until(lambda: all(lab.field(task_id, "saved") for task_id in ids))
    before = {task_id: lab.run(task_id) for task_id in ids}
    lab.redis.flushall()
    for task_id in ids:
        run = lab.wait_new_run(task_id, before[task_id], timeout=H + G + PATIENCE)
        last = [act.kind for act in lab.evidence.of_run(before[task_id])][-1]
        begin = lab.evidence.of_run(run)[0].kind
        found, saved = (int(kind.partition(":")[2]) for kind in (begin, last))
        assert found in (saved, saved + 1)
    lab.evidence.check()


def test_a_deleted_hash_alone_is_not_restored(lab):
    worker = lab.worker("--on-data-loss", "restore")
    (task_id,) = lab.started(1)
    lab.redis.delete(task_id)
    wait_until(lambda: f"task {task_id}: stopping its run on this worker: forget" in worker.log)
    wait_until(lambda: not lab.redis.hexists("pytask:runs", task_id))
    assert not lab.redis.exists(task_id)


def test_durable_acks_take_nothing_while_no_replica_has_it(workers):
    with start_server("valkey") as primary, redis.Redis(HOST, primary.port) as client:
        worker = workers.start(primary.url, "--durable-acks", 1)
        client.hset("t", mapping={"function": "tick", "data": "{}"})
        client.lpush("new-task", "t")
        wait_until(lambda: "only 0 of 1 replicas acknowledged" in worker.log)
        gevent.sleep(4 * H)
        assert workers.evidence.acts() == []
        assert client.hlen("pytask:runs") == 0
        with start_server("valkey", "--replicaof", f"{HOST} {primary.port}", "--repl-diskless-sync-delay", 0):
            wait_until(workers.evidence.acts, why="the task runs once a replica has the claim")


def test_durable_acks_stop_tasks_when_the_replica_is_lost_later(workers):
    with replicated() as (primary, replica), redis.Redis(HOST, primary.port) as client:
        worker = workers.start(primary.url, "--durable-acks", 1)
        push(client, "a", "b", "c")
        wait_until(lambda: acted(workers, "a", "b", "c"))
        replica.freeze()
        cut = now()
        push(client, "late")
        wait_until(lambda: "does not acknowledge: [PT051] only 0 of 1 replicas" in worker.log)
        wait_until(lambda: "stopping all tasks of this worker" in worker.log, D + G + PATIENCE)
        wait_until(lambda: workers.evidence.at_rest(["a", "b", "c"], 2 * H + G))
        assert workers.evidence.acts("late") == []
        last = max(act.at for act in workers.evidence.acts())
        assert last < cut + (K + 0.25) * SECOND
        replica.thaw()
        wait_until(lambda: acted(workers, "a", "b", "c", "late", since=last), why="all go on")
        workers.evidence.check()
        assert worker.code is None


def push(client, *ids, space=""):
    for task_id in ids:
        client.hset(space + task_id, mapping={"function": "tick", "data": "{}"})
        client.lpush(f"{space}new-task", task_id)


def acted(workers, *ids, since=0):
    return set(ids) <= {act.id for act in workers.evidence.acts() if act.at > since}


@contextlib.contextmanager
def replicated(**options):
    """A primary and a replica that follows it."""
    with start_server("valkey", **options) as primary:
        of = ("--replicaof", f"{HOST} {primary.port}", "--repl-diskless-sync-delay", 0)
        with start_server("valkey", *of, **options) as replica, redis.Redis(HOST, primary.port) as client:
            wait_until(lambda: client.info("replication").get("slave0", {}).get("state") == "online")
            yield primary, replica


def test_durable_acks_on_a_cluster(workers):
    with start_cluster(masters=2, replicas=1) as cluster:
        lab = ClusterLab(cluster, workers, partitions=1)
        worker = lab.worker("--durable-acks", 1)
        ids = lab.started(5)
        source = lab.node_of(0)
        (replica,) = cluster.replicas_of(source)
        replica.freeze()
        wait_until(lambda: "only 0 of 1 replicas" in worker.log, why="the heartbeat is not acknowledged")
        late = lab.push("tick")
        gevent.sleep(2 * H)
        assert workers.evidence.acts(late) == []
        replica.thaw()
        lab.wait_acting([late])
        # At the slot's new node, too, it is the replicas of that node that count.
        target = next(node for node in cluster.nodes if cluster.replicas_of(node) and node is not source)
        move_by_keys(cluster, lab.slot(0), source, target)
        lab.wait_acting([lab.push("tick")])
        lab.wait_acting([*ids, late], since=now())
        (replica,) = cluster.replicas_of(target)
        logged_before = worker.log.count("only 0 of 1 replicas")
        replica.freeze()
        wait_until(lambda: worker.log.count("only 0 of 1 replicas") > logged_before, why="nor is it there")
        replica.thaw()
        lab.wait_acting(ids, since=now())
        workers.evidence.check()
        assert all(len(workers.evidence.runs(task_id)) == 1 for task_id in ids)


RISKS = {
    "PT073": lambda c: None,  # a replica is enough
    "PT074": lambda c: c.config_set("min-replicas-max-lag", 60) and c.config_set("min-replicas-to-write", 1),
    "PT075": lambda c: c.config_set("maxmemory-policy", "allkeys-lru"),
    "PT076": lambda c: c.config_set("appendonly", "no"),
    "PT077": lambda c: c.config_set("timeout", 5),
    "PT078": lambda c: c.config_set("proto-max-bulk-len", 1 << 20),
}


@pytest.fixture(scope="module")
def pair():
    with replicated(appendonly=True) as servers:
        yield servers


@pytest.mark.parametrize("code", RISKS)
def test_each_risky_setting_is_named_and_its_fix_silences_it(pair, code):
    with redis.Redis(HOST, pair[0].port) as client:
        client.config_set("min-replicas-to-write", 0 if code == "PT073" else 1)
        assert [risk.code for risk in risks(client, max_data=1 << 21)] == (
            ["PT073"] if code == "PT073" else []
        )
        RISKS[code](client)
        (risk,) = risks(client, max_data=1 << 21)
        assert risk.code == code
        client.execute_command(*risk.fix.split())
        assert risks(client, max_data=1 << 21) == []


def test_a_replica_is_named(pair):
    with redis.Redis(HOST, pair[1].port) as client:
        (risk,) = [risk for risk in risks(client) if risk.code == "PT072"]
    assert f"{HOST}:{pair[0].port}" in risk.fix


@pytest.mark.parametrize(("command", "code"), [("config|get", "PT070"), ("info", "PT071")])
def test_what_may_not_be_looked_at_is_said_and_its_fix_silences_it(pair, command, code):
    with redis.Redis(HOST, pair[0].port) as admin:
        admin.config_set("min-replicas-to-write", 1)
        admin.execute_command(
            "ACL", "SETUSER", "limited", "on", ">p", "~*", "+@all", "-config", f"-{command}"
        )
        if code == "PT071":
            admin.execute_command("ACL", "SETUSER", "limited", "+config|get")
        with redis.Redis(HOST, pair[0].port, username="limited", password="p") as client:
            (risk,) = risks(client)
            assert risk.code == code
            admin.execute_command(*risk.fix.replace("<user>", "limited").split())
            assert risks(client) == []
