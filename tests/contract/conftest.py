"""One suite for every backend."""

import pytest

from tests.contract.benches import FULL, REAL, WIRE, make_bench
from tests.support.servers import is_available, start_server


@pytest.hookimpl(tryfirst=True)  # or the order of the ids depends on when this file is read
def pytest_generate_tests(metafunc):
    """Every case runs where what happens may differ, a main case also where only the wire does."""
    kinds = (*FULL, *WIRE) if metafunc.definition.get_closest_marker("wire") else FULL
    for name in ("bench", "make"):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, kinds, indirect=True)


@pytest.fixture(scope="session")
def servers():
    """A running server of each kind, started when it is first asked for."""
    running = {}

    def get(kind):
        if not is_available(kind):
            pytest.skip(f"no {kind} server for this platform")
        if kind not in running:
            running[kind] = start_server(kind)
        return running[kind]

    yield get
    for server in running.values():
        server.close()


@pytest.fixture
def bench(request, servers):
    made = make_bench(request.param, servers)
    yield made
    made.close()


@pytest.fixture(params=REAL)
def real(request, servers):
    """A bench on a real server only."""
    made = make_bench(request.param, servers)
    made.server = servers(request.param)
    yield made
    made.close()


@pytest.fixture
def make(request, servers):
    """Benches with settings of their own, one at a time."""
    benches = []

    def build(**options):
        benches.append(make_bench(request.param, servers, **options))
        return benches[-1]

    yield build
    for one in benches:
        one.close()


@pytest.fixture
def queue(bench):
    made = bench.backend.queue()
    yield made
    made.close()


@pytest.fixture
def real_queue(real):
    made = real.backend.queue()
    yield made
    made.close()
