"""Each mode of the tests' own proxy, shown against a real server."""

import socket
import time

import pytest

from tests.support.proxy import HOST, Proxy
from tests.support.servers import start_server


@pytest.fixture(scope="module")
def server():
    with start_server("valkey") as running:
        yield running


@pytest.fixture
def proxy(server):
    with Proxy(server.port) as running:
        yield running


class Client:
    """The inline protocol over a bare socket: nothing is retried behind our back."""

    def __init__(self, port):
        self.socket = socket.create_connection((HOST, port), timeout=20)

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.socket.close()

    def send(self, line):
        self.socket.sendall(line.encode() + b"\r\n")

    def receive(self, timeout=20):
        self.socket.settimeout(timeout)
        return self.socket.recv(65536)

    def ask(self, line):
        self.send(line)
        return self.receive()

    def hears_nothing(self):
        with pytest.raises(TimeoutError):
            self.receive(timeout=0.1)


@pytest.fixture
def client(proxy):
    with Client(proxy.port) as connected:
        assert connected.ask("PING") == b"+PONG\r\n"
        yield connected


@pytest.fixture
def direct(server):
    with Client(server.port) as connected:
        connected.ask("FLUSHALL")
        yield connected


def wait_for_value(direct, key, value):
    deadline = time.monotonic() + 20
    while direct.ask(f"GET {key}") != b"$%d\r\n%s\r\n" % (len(value), value):
        assert time.monotonic() < deadline, "the request never arrived"


def test_passes_both_ways(proxy, client, direct):
    assert client.ask("SET k through") == b"+OK\r\n"
    assert direct.ask("GET k") == b"$7\r\nthrough\r\n"
    assert proxy.url == f"redis://127.0.0.1:{proxy.port}/0"


def test_blackhole_holds_and_pass_delivers(proxy, client, direct):
    proxy.blackhole()
    client.send("SET k held")
    client.hears_nothing()
    assert direct.ask("GET k") == b"$-1\r\n"
    proxy.pass_()
    assert client.receive() == b"+OK\r\n"
    assert direct.ask("GET k") == b"$4\r\nheld\r\n"


def test_blackhole_accepts_new_connections(proxy):
    proxy.blackhole()
    with Client(proxy.port) as late:
        late.send("PING")
        late.hears_nothing()
        proxy.pass_()
        assert late.receive() == b"+PONG\r\n"


def test_drop_replies_lets_the_request_arrive_and_cuts_afterwards(proxy, client, direct):
    proxy.drop_replies()
    client.send("SET k done")
    wait_for_value(direct, "k", b"done")
    client.hears_nothing()
    proxy.pass_()
    with pytest.raises(ConnectionResetError):
        client.receive()


def test_cut_resets_every_connection_and_takes_new_ones(proxy, client):
    assert proxy.connections() == 1
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        client.receive()
    with Client(proxy.port) as again:
        assert again.ask("PING") == b"+PONG\r\n"


def test_refuse_turns_new_connections_away_and_keeps_old_ones(proxy, client):
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        Client(proxy.port)
    assert client.ask("PING") == b"+PONG\r\n"
    proxy.pass_()
    with Client(proxy.port) as again:
        assert again.ask("PING") == b"+PONG\r\n"


def test_cut_after_request_loses_the_reply_of_a_request_that_was_done(proxy, client, direct):
    proxy.cut_after_request()
    client.send("INCR k")
    with pytest.raises(ConnectionResetError):
        client.receive()
    assert direct.ask("GET k") == b"$1\r\n1\r\n"
    with Client(proxy.port) as again:
        assert again.ask("INCR k") == b":2\r\n"


def test_cut_after_request_counts_the_requests_that_match(proxy, direct):
    proxy.cut_after_request(2, containing="INCR")
    for _ in range(2):
        with Client(proxy.port) as connected:
            assert connected.ask("PING") == b"+PONG\r\n"
            connected.send("INCR k")
            with pytest.raises(ConnectionResetError):
                connected.receive()
    with Client(proxy.port) as connected:
        assert connected.ask("INCR k") == b":3\r\n"


def test_delay_holds_each_chunk_on_its_way_there_and_back(proxy, client):
    proxy.delay(0.05, 0.06)
    start = time.monotonic()
    assert client.ask("PING") == b"+PONG\r\n"
    assert time.monotonic() - start >= 0.1


def test_limit_resets_a_connection_with_a_larger_request_and_no_other(proxy, client, direct):
    proxy.limit(1000)
    for _ in range(3):
        assert client.ask(f"SET k {'x' * 900}") == b"+OK\r\n"
    with pytest.raises(ConnectionError):
        client.ask(f"SET k {'y' * 1100}")
    assert direct.ask("STRLEN k") == b":900\r\n"
    proxy.limit(0)
    with Client(proxy.port) as again:
        assert again.ask(f"SET k {'y' * 1100}") == b"+OK\r\n"
