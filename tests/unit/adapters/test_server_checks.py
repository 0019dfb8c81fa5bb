"""The oldest server that is taken."""

import fakeredis
import pytest

from pytask.adapters.redis.support import check_server
from pytask.domain.errors import UnsupportedServer


class Told:
    def __init__(self, answer):
        self.answer = answer

    def info(self, _section):
        return self.answer


def test_an_old_redis_is_refused_with_the_fix():
    with pytest.raises(UnsupportedServer, match=r"6\.0\.16.*6\.2 or newer.*--embedded"):
        check_server(Told({"redis_version": "6.0.16"}))


def test_one_old_node_of_a_cluster_is_enough():
    with pytest.raises(UnsupportedServer):
        check_server(Told({"a:1": {"redis_version": "7.0.0"}, "b:1": {"redis_version": "5.0.7"}}))


@pytest.mark.parametrize("version", ["6.2.0", "7.2.4", "8.0.1"])
def test_newer_ones_are_taken(version):
    check_server(Told({"redis_version": version}))


def test_a_server_that_does_not_tell_is_taken():
    check_server(fakeredis.FakeRedis())
    check_server(Told({}))
