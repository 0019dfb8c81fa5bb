"""A server or a proxy with a size limit: what is too large is an error, all else goes on."""

import json

import pytest
from click.testing import CliRunner

from pytask.cli.main import main
from tests.integration.conftest import Lab, wait_until
from tests.support.proxy import Proxy

pytestmark = pytest.mark.slow

SIZE = 2_000_000  # bytes; the limits of a real server begin at one megabyte


@pytest.fixture
def setting(lab: Lab):
    """CONFIG SET, undone afterwards."""
    before = {}

    def put(name, value):
        before.update(lab.redis.config_get(name))
        lab.redis.config_set(name, value)

    yield put
    for name, value in before.items():
        lab.redis.config_set(name, value)


@pytest.mark.parametrize("name", ["client-query-buffer-limit", "proto-max-bulk-len"])
def test_an_end_that_the_server_never_takes_is_an_error_and_others_go_on(lab: Lab, setting, name):
    setting(name, "1mb")
    worker = lab.worker("--max-data", "4000000", max_tasks=4)
    big = lab.push("large")
    others = lab.push_many(3, "shot")
    lab.wait_state(others, "ENDED")
    lab.wait_state(big, "ERROR")
    assert lab.field(big, "error").startswith("[PT132] Redis refuses the output of this task")
    assert lab.field(big, "output") is None
    wait_until(lambda: lab.redis.hlen("pytask:runs") == 0)
    assert worker.code is None


def test_a_task_whose_data_never_comes_is_an_error_and_others_go_on(lab: Lab, setting):
    first = lab.push("shot")
    big = lab.push("shot", x="x" * SIZE)
    others = [*lab.push_many(3, "shot"), first]
    setting("client-output-buffer-limit", "normal 1mb 0 0")
    lab.worker("--max-data", "4000000")
    lab.wait_state(others, "ENDED")
    lab.wait_state(big, "ERROR")
    assert lab.field(big, "error").startswith("[PT133] data has 2000009 bytes")
    assert [act.id for act in lab.evidence.acts()].count(big) == 0
    assert lab.redis.llen("new-task") == lab.redis.hlen("pytask:runs") == 0
    setting("client-output-buffer-limit", "normal 0 0 0")
    assert lab.control(big, "start") > 0
    lab.wait_state(big, "ENDED")


def test_a_reload_whose_data_never_comes_is_refused(lab: Lab, setting):
    setting("client-output-buffer-limit", "normal 1mb 0 0")
    lab.worker("--max-data", "4000000")
    (task,) = lab.started(1)
    lab.redis.hset(task, "data", '{"x": "%s"}' % ("x" * SIZE))
    run = lab.run(task)
    lab.control(task, "reload")
    lab.events.wait(task, "reload-refused")
    assert "[PT133] data has 2000009 bytes" in lab.field(task, "reload_refused")
    assert (lab.run(task), lab.field(task, "control")) == (run, None)


def doctor(lab):
    """Its finding about what Redis does not take."""
    shown = CliRunner().invoke(main, ["doctor", "-o", "json", "--redis", lab.server.url])
    (found,) = [item for item in json.loads(shown.stdout)["items"] if item["code"] == "PT132"]
    return found


def shown_refusals(lab):
    return [json.loads(text)["refused"] for text in lab.redis.hvals("pytask:workers:info")]


def test_doctor_tells_of_a_worker_whose_ends_are_not_taken(lab: Lab):
    shown = {"session": "s", "name": "larch", "host": "h", "pid": 1, "running": 3, "held": 25.4}
    lab.redis.hset("pytask:workers:info", "s", json.dumps(shown))
    lab.redis.zadd("pytask:workers", {"s": lab.redis.time()[0]})
    found = doctor(lab)
    assert found["serious"]
    assert found["what"].startswith(
        "for 25s Redis has accepted no task results or logs from worker larch, or not"
    )


def test_all_that_a_proxy_refuses_at_once(lab: Lab):
    """Data, lines of logs and an output over its limit: each is given up, or sent in parts, for itself."""
    with Proxy(lab.server.port) as proxy:
        proxy.limit(30_000)
        big = lab.push("shot", x="x" * 60_000)
        chatty, large = lab.push("chatty"), lab.push("large")
        others = lab.push_many(20, "shot")
        lab.worker("--max-data", "4000000", "--task-logs", "1000", url=proxy.url)
        lab.wait_state([*others, chatty], "ENDED")
        lab.wait_state([big, large], "ERROR")
        assert lab.field(big, "error").startswith("[PT133] ")
        assert lab.field(large, "error").startswith("[PT132] ")
        assert lab.redis.llen(f"pytask:log:{chatty}") == 50
        wait_until(lambda: shown_refusals(lab) == [2])
        found = doctor(lab)
        assert found["what"].startswith("2 tasks of worker w1 became ERROR")
        assert not found["serious"]
        wait_until(lambda: lab.redis.hlen("pytask:runs") == 0)
