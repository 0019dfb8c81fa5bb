"""Which db number the connections of a client select."""

import fakeredis
import pytest
import redis
import valkey
from redis.sentinel import Sentinel

from pytask.adapters.redis.clients import clone
from pytask.adapters.redis.support import database_of


@pytest.mark.parametrize(
    ("client", "number"),
    [
        (redis.Redis(), 0),
        (redis.Redis(db=None), 0),
        (redis.Redis(db=3), 3),
        (redis.Redis(db="3"), 3),
        (redis.Redis.from_url("redis://host"), 0),
        (redis.Redis.from_url("redis://host/3"), 3),
        (redis.Redis.from_url("redis://host?db=3"), 3),
        (redis.Redis.from_url("unix:///socket?db=3"), 3),
        (redis.Redis(connection_pool=redis.BlockingConnectionPool(db=3)), 3),
        (valkey.Valkey(db=3), 3),
        (Sentinel([("host", 26379)]).master_for("name", db=3), 3),
        (Sentinel([("host", 26379)], db=3).master_for("name"), 3),
        (fakeredis.FakeRedis(db=3), None),
    ],
)
def test_the_number_is_that_of_its_pool(client, number):
    assert database_of(client) == number
    assert database_of(clone(client)) == number
