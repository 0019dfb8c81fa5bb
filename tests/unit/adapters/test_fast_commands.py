"""Connections that were used just now are used again; others come from the pool, which looks at them."""

import pytest

from pytask.adapters.redis import fast_commands as module
from pytask.adapters.redis.fast_commands import Direct, direct


class ResponseError(Exception):
    """As the libraries name it."""


class Connection:
    def __init__(self, number):
        self.number = number
        self.replies = []
        self.sent = []
        self.dropped = 0

    def send_command(self, *words):
        self.sent.append(words)

    def pack_commands(self, commands):
        return list(commands)

    def send_packed_command(self, packed):
        self.sent += packed

    def read_response(self):
        reply = self.replies.pop(0) if self.replies else b"OK"
        if isinstance(reply, BaseException):
            raise reply
        return reply

    def disconnect(self):
        self.dropped += 1


class Client:
    """A client and its pool in one."""

    def __init__(self):
        self.connection_pool = self
        self.idle = []
        self.taken = 0
        self.made = 0
        self.dropped = 0

    def get_connection(self):
        self.taken += 1
        if not self.idle:
            self.made += 1
            self.idle.append(Connection(self.made))
        return self.idle.pop()

    def release(self, connection):
        self.idle.append(connection)

    def disconnect(self):
        assert self.idle, "what is kept aside is no longer the pool's"
        self.dropped += 1


class OldClient(Client):
    def get_connection(self, command_name, *keys):
        assert command_name
        return super().get_connection()


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize("kind", [Client, OldClient])
def test_a_connection_is_used_again_without_the_pool(kind, clock):
    client = kind()
    sender = Direct(client)
    assert [sender.execute_command("PING", n) for n in range(3)] == [b"OK"] * 3
    assert client.taken == 1


def test_the_pool_looks_at_one_that_rested(clock):
    client = Client()
    sender = Direct(client)
    sender.execute_command("PING")
    clock[0] += module.WARM + 0.1
    sender.execute_command("PING")
    assert (client.taken, client.made) == (2, 1)


def test_commands_that_are_sent_together_have_their_errors_in_their_places(clock):
    client = Client()
    sender = Direct(client)
    sender.execute_command("PING")
    (connection,) = (one for one, _, _ in sender._warm)
    wrong = ResponseError("WRONGTYPE")
    connection.replies = [b"one", wrong, b"three"]
    assert sender.send_all([("GET", "a"), ("GET", "b"), ("GET", "c")]) == [b"one", wrong, b"three"]
    assert connection.sent[1:] == [("GET", "a"), ("GET", "b"), ("GET", "c")]
    assert (connection.dropped, client.taken) == (0, 1)


def test_where_one_of_them_has_no_answer_none_has(clock):
    client = Client()
    sender = Direct(client)
    sender.execute_command("PING")
    (connection,) = (one for one, _, _ in sender._warm)
    connection.replies = [b"one", OSError("cut")]
    with pytest.raises(OSError, match="cut"):
        sender.send_all([("GET", "a"), ("GET", "b")])
    assert connection.dropped == 1


def test_after_an_answer_that_is_an_error_the_connection_is_good(clock):
    client = Client()
    sender = Direct(client)
    sender.execute_command("PING")
    (connection,) = (one for one, _, _ in sender._warm)
    connection.replies = [ResponseError("WRONGTYPE"), b"next"]
    with pytest.raises(ResponseError):
        sender.execute_command("GET", "a")
    assert sender.execute_command("GET", "b") == b"next"
    assert (connection.dropped, client.taken) == (0, 1)


@pytest.mark.parametrize(
    "error",
    [
        OSError("cut"),
        ResponseError("READONLY You can't"),
        ResponseError("Protocol error: x"),
        KeyboardInterrupt(),
    ],
)
def test_after_anything_else_it_is_dropped(error, clock):
    """An unread reply would be the next command's."""
    client = Client()
    sender = Direct(client)
    sender.execute_command("PING")
    (connection,) = (one for one, _, _ in sender._warm)
    connection.replies = [error]
    with pytest.raises(type(error)):
        sender.execute_command("GET", "a")
    assert connection.dropped == 1
    assert client.idle == [connection]
    sender.execute_command("GET", "b")
    assert client.taken == 2


class TokenConnection(Connection):
    """As the connections of redis-py 5.3 and later: a token waits until it is safe to log in."""

    token = None

    def set_re_auth_token(self, token):
        self.token = token

    def re_auth(self):
        if self.token:
            self.send_command("AUTH", self.token)
            self.read_response()
            self.token = None


class TokenClient(Client):
    def get_connection(self):
        if not self.idle:
            self.idle.append(TokenConnection(self.made + 1))
        return super().get_connection()

    def release(self, connection):
        assert connection.token is None, "the pool would log in now, though the connection was dropped"
        super().release(connection)

    def re_auth_callback(self, token):
        """Nothing calls it here; that it is there says what the connections can do."""


def test_a_kept_connection_logs_in_with_a_new_token_before_the_next_command(clock):
    sender = Direct(TokenClient())
    sender.execute_command("PING")
    (connection,) = (one for one, _, _ in sender._warm)
    connection.set_re_auth_token("new")
    sender.execute_command("PING")
    assert connection.sent == [("PING",), ("AUTH", "new"), ("PING",)]


@pytest.mark.parametrize("rest", [0, module.WARM + 0.1])
@pytest.mark.parametrize("error", [OSError("cut"), ResponseError("WRONGPASS")])
def test_where_a_token_is_refused_a_connection_comes_from_the_pool(rest, error, clock):
    sender = Direct(TokenClient())
    sender.execute_command("PING")
    (connection,) = (one for one, _, _ in sender._warm)
    connection.set_re_auth_token("replaced meanwhile")
    connection.replies = [error]
    clock[0] += rest
    assert sender.execute_command("PING") == b"OK"
    assert connection.dropped == 1


def test_a_greenlet_that_is_killed_while_it_logs_in_drops_the_connection(clock):
    sender = Direct(TokenClient())
    sender.execute_command("PING")
    (connection,) = (one for one, _, _ in sender._warm)
    connection.set_re_auth_token("new")
    connection.replies = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        sender.execute_command("PING")
    assert (connection.dropped, sender._warm) == (1, [])


def test_letting_go_logs_nobody_in(clock):
    sender = Direct(TokenClient())
    sender.execute_command("PING")
    sender._warm[0][0].set_re_auth_token("new")
    sender.close()


def test_a_forked_child_leaves_the_connection_of_its_parent_alone(clock, monkeypatch):
    client = Client()
    sender = Direct(client)
    sender.execute_command("PING")
    (connection,) = (one for one, _, _ in sender._warm)
    monkeypatch.setattr(module.os, "getpid", lambda: -1)
    sender.execute_command("PING")
    assert connection.sent == [("PING",)]
    assert connection.dropped == 0


def test_after_the_pool_dropped_its_connections_it_is_asked_for_one(clock):
    """A connection of Sentinel's asks for the primary only when it comes from the pool."""
    client = Client()
    sender = Direct(client)
    sender.execute_command("PING")
    sender.disconnect()
    assert client.dropped == 1
    sender.execute_command("PING")
    assert client.taken == 2


def test_a_client_without_a_pool_sends_for_itself():
    client = object()
    assert direct(client) is client
