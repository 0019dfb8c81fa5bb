"""Redis loses data twice in a row, while a worker that cannot reach it still runs a task."""

from tests.integration.conftest import PATIENCE, G, H, K, Lab, wait_until
from tests.support.proxy import Proxy
from tests.support.servers import start_server

CUT_OFF = "stopping all tasks of this worker"


def test_a_safe_restart_does_not_end_the_pause_after_an_unsafe_one(workers):
    with start_server("valkey") as server, Proxy(server.port) as proxy, Lab(server, workers) as lab:
        lab.worker(max_tasks=1)
        lab.started(1)  # it renews, and has no room
        lab.push("tick", "a")
        lab.redis.save()
        owner = lab.worker(url=proxy.url)
        lab.wait_acting(["a"])
        proxy.blackhole()  # the task runs on
        restart(lab)  # with data in which it still waits
        lab.redis.config_set("appendonly", "yes")
        wait_until(lambda: lab.redis.hget("pytask:incarnation", "safe") == "1")
        lab.redis.save()
        restart(lab)  # with all data
        lab.worker()
        wait_until(lambda: len(lab.evidence.runs("a")) == 2, K + G + PATIENCE)
        wait_until(lambda: CUT_OFF in owner.log, K + PATIENCE)
        lab.evidence.check()


def restart(lab):
    """It answers under another id."""
    before = lab.redis.info("replication")["master_replid"]
    lab.server.kill()
    lab.server.start()
    wait_until(lambda: lab.redis.hget("pytask:incarnation", "server") not in (None, before))


def test_a_restore_without_an_answer_is_not_repeated_at_once_after_another_loss(lab):
    more = ("--on-data-loss", "restore")
    with Proxy(lab.server.port) as one, Proxy(lab.server.port) as two:
        lab.worker(*more, name="w1", url=one.url, max_tasks=1)
        lab.push("tick", "a")
        lab.wait_acting(["a"])
        lab.redis.flushall()
        wait_until(lambda: len(lab.evidence.runs("a")) == 2)  # so the server knows the script
        other = lab.worker(*more, name="w2", url=two.url, max_tasks=1)
        one.cut_after_request(50, containing="restored after a loss of data")
        lab.redis.flushall()
        wait_until(lambda: lab.redis.exists("a"), why="it is restored")
        one.refuse()  # its answer was lost, and the worker cannot ask again
        one.cut()
        wait_until(lambda: len(lab.evidence.runs("a")) == 3, why="the other worker runs it")
        two.blackhole()
        lab.redis.flushall()
        one.cut_after_request(0)
        one.pass_()
        wait_until(lambda: len(lab.evidence.runs("a")) == 4, K + H + G + PATIENCE)
        wait_until(lambda: CUT_OFF in other.log, K + PATIENCE)
        lab.evidence.check()
