"""A client of either face, on every kind of server or on one."""

import pytest

from tests.contract.client.faces import FACES, FULL, WIRE, make


@pytest.hookimpl(tryfirst=True)  # or the order of the ids depends on when this file is read
def pytest_generate_tests(metafunc):
    """As of the store: a main case also runs where only the wire differs."""
    if "kind" in metafunc.fixturenames:
        kinds = (*FULL, *WIRE) if metafunc.definition.get_closest_marker("wire") else FULL
        faces = [(kind, face) for kind in kinds for face in FACES]
        metafunc.parametrize(("kind", "face"), faces, indirect=True, ids=map("-".join, faces))


@pytest.fixture
def kind(request):
    return request.param


@pytest.fixture
def face(request):
    return request.param


@pytest.fixture
def both(kind, face, servers):
    made = make(kind, face, servers)
    yield made
    made.close()


@pytest.fixture(params=FACES)
def real(request, servers):
    """On one kind of server only, for what does not depend on it."""
    made = make("valkey", request.param, servers)
    yield made
    made.close()
