"""A server (or a proxy) that refuses large requests: what is too large is an error, all else goes on."""

import pytest

from tests.integration.conftest import Lab, wait_until
from tests.servers import start_server

pytestmark = pytest.mark.slow


@pytest.fixture
def running_server():
    with start_server("valkey", "--client-query-buffer-limit", "1mb") as server:
        yield server


def test_an_end_that_the_server_never_takes_is_an_error_and_others_go_on(lab: Lab):
    worker = lab.worker("--max-data", "4000000", max_tasks=4)
    big = lab.push("large")
    others = lab.push_many(3, "shot")
    lab.wait_state(others, "ENDED")
    lab.wait_state(big, "ERROR")
    assert lab.field(big, "error").startswith("[PT132] Redis refuses the output of this task")
    assert lab.field(big, "output") is None
    wait_until(lambda: lab.redis.hlen("pytask:runs") == 0)
    assert worker.code is None
