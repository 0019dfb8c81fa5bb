"""What a test does with a real cluster and real workers from outside: push, look, steer, and wait."""

import json
from itertools import count

import redis
from redis.cluster import RedisCluster

from pytask import namespace_of, partition_of
from pytask.domain.partition import SLOTS, crc16, hash_tag
from tests.integration.conftest import PATIENCE, wait_until

TAG = "{pt}:"
P = 4


class ClusterLab:
    """A cluster, its workers, and a producer that knows of partitions."""

    def __init__(self, cluster, workers, partitions=P):
        self.cluster = cluster
        self.workers = workers
        self.partitions = partitions
        node = next(node for node in cluster.nodes if node.alive)
        self.redis = RedisCluster(node.host, node.port, decode_responses=True)
        self.home = {}  # the namespace of each id that was pushed
        self._ids = count(1)

    @property
    def evidence(self):
        return self.workers.evidence

    # -- workers --------------------------------------------------------------------------------------

    def worker(self, *arguments, partitions=None, **options):
        """A worker all of whose lanes listen and whose monitors sweep."""
        number = partitions or self.partitions
        before = self.listeners()
        node = next(node for node in self.cluster.nodes if node.alive)
        words = ["--cluster", "--namespace", TAG, "--partitions", number, "--monitor"]
        worker = self.workers.start(node.url, *words, *arguments, **options)
        wait_until(
            lambda: worker.code is not None or len(self.listeners() - before) >= number,
            why=f"{worker.name} listens",
        )
        assert worker.code is None, worker.log
        return worker

    def listeners(self):
        found = set()
        for node in self.cluster.nodes:
            if node.alive:
                with redis.Redis(node.host, node.port, decode_responses=True) as client:
                    found |= set(client.pubsub_channels("*pytask:ping:*"))
        return found

    def connections(self):
        """The names of the daemon's connections at all nodes."""
        names = []
        for node in self.cluster.nodes:
            with redis.Redis(node.host, node.port) as client:
                names += [each["name"] for each in client.client_list() if each["name"].startswith("pytask")]
        return names

    # -- tasks ----------------------------------------------------------------------------------------

    def ns(self, partition, partitions=None):
        return namespace_of(TAG, partition, partitions or self.partitions)

    def slot(self, partition):
        return crc16(hash_tag(self.ns(partition)).encode()) % SLOTS

    def node_of(self, partition):
        return self.cluster.owner(self.slot(partition))

    def push(self, function, task_id=None, **data):
        task_id = task_id or f"{function}{next(self._ids)}"
        space = self.home[task_id] = self.ns(partition_of(task_id, self.partitions))
        self.redis.hset(space + task_id, mapping={"function": function, "data": json.dumps(data)})
        self.redis.lpush(space + "new-task", task_id)
        return task_id

    def push_many(self, number, function, **data):
        return [self.push(function, **data) for _ in range(number)]

    def started(self, number, function="tick", **data):
        ids = self.push_many(number, function, **data)
        self.wait_acting(ids)
        return ids

    def of_node(self, ids, node):
        """Those whose partition lives at that node, and the others."""
        here = {self.ns(p) for p in range(self.partitions) if self.node_of(p) is node}
        return [i for i in ids if self.home[i] in here], [i for i in ids if self.home[i] not in here]

    def field(self, task_id, name):
        return self.redis.hget(self.home[task_id] + task_id, name)

    def control(self, task_id, word):
        return self.redis.publish(f"{self.home[task_id]}task-{task_id}-control", word)

    # -- waiting --------------------------------------------------------------------------------------

    def wait_state(self, ids, state, timeout=PATIENCE):
        left = set([ids] if isinstance(ids, str) else ids)

        def done():
            try:
                left.difference_update([i for i in left if self.field(i, "state") == state])
            except (redis.RedisError, OSError):
                return False  # a node fails over
            return not left

        wait_until(done, timeout, lambda: f"{state}: {len(left)} are not, such as {sorted(left)[:5]}")

    def wait_acting(self, ids, since=0, timeout=PATIENCE):
        def missing():
            return set(ids) - {act.id for act in self.evidence.acts() if act.at > since}

        wait_until(lambda: not missing(), timeout, lambda: f"acts of {missing()}")
