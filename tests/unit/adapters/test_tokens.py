"""One listener for all clones of a client, which knows them weakly, and lets none stand in another's way."""

import gc

import redis
from redis.credentials import StreamingCredentialProvider

from pytask.adapters.redis import clients


class Provider(StreamingCredentialProvider):
    __hash__ = None  # as a dataclass

    def __init__(self):
        self.listeners = []

    def get_credentials(self):
        return ("u", "p")

    def on_next(self, callback):
        self.listeners.append(callback)

    def on_error(self, callback):
        pass

    def is_streaming(self):
        return True


def provider_of(client):
    return client.connection_pool.connection_kwargs["credential_provider"]


def test_the_clones_of_all_runs_have_one_listener_and_are_forgotten():
    provider = Provider()
    source = redis.Redis(credential_provider=provider)
    clones = [clients.clone(source) for _ in range(20)]
    assert provider_of(clients.clone(clones[0])) is provider_of(clones[0])
    assert provider_of(clones[0]).get_credentials() == ("u", "p")
    assert len(provider.listeners) == 2  # with that of the user's client
    shared = provider_of(clones[0])
    assert len(shared._pools) > 20
    clones.clear()
    gc.collect()
    assert list(shared._pools) == [source.connection_pool]


def test_a_pool_that_takes_no_token_does_not_keep_it_from_the_others():
    provider = Provider()
    blocking = redis.BlockingConnectionPool(credential_provider=provider)  # redis-py 8.1 has no way there
    source = redis.Redis(connection_pool=blocking)
    clone, own = clients.clone(source), clients.own_client(source, timeout=1, name="n")
    using = own.connection_pool.make_connection()
    own.connection_pool._in_use_connections.add(using)
    (tell,) = provider.listeners
    tell("token")
    assert using._re_auth_token == "token"
    assert type(clone.connection_pool) is redis.BlockingConnectionPool


def test_a_listener_of_a_client_is_called_while_it_lives():
    class Listener:
        def __init__(self):
            self.received = []

        def receive(self, token):
            self.received.append(token)
            raise ValueError(token)

    provider = Provider()
    shared = provider_of(clients.clone(redis.Redis(credential_provider=provider)))
    first, second = Listener(), Listener()
    shared.on_next(first.receive)
    shared.on_next(second.receive)
    provider.listeners[-1]("t")
    assert first.received == second.received == ["t"]
    del first
    gc.collect()
    assert len(shared._listeners) == 1
