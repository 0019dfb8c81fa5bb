"""A provider that streams tokens: each new one reaches the connections of the worker and of its tasks."""

import gevent
import pytest
import redis
from redis.credentials import StreamingCredentialProvider

from pytask import PyTask, Task, Timing
from tests.integration.conftest import wait_until

pytestmark = pytest.mark.slow


class Token:
    """As much of a token as a connection logs in with: a user and a password."""

    def __init__(self, user):
        self._user = user

    def try_get(self, key):
        return {"oid": self._user}[key]

    def get_value(self):
        return f"pw-{self._user}"


class Provider(StreamingCredentialProvider):
    """Knows one listener only, as that of redis-entraid."""

    def __init__(self):
        self.token = Token("one")
        self._listener = None

    def get_credentials(self):
        return self.token.try_get("oid"), self.token.get_value()

    def on_next(self, callback):
        self._listener = callback

    def on_error(self, callback):
        pass

    def is_streaming(self):
        return True

    def renew(self, user):
        self.token = Token(user)
        self._listener(self.token)


class Who(Task):
    """Says as whom its own client is logged in."""

    class Config:
        NAME = "who"

    def start(self):
        while True:
            self.redis.set("who", self.redis.acl_whoami())
            gevent.sleep(0.02)


def users_of(look, name):
    return {c["user"] for c in look.client_list() if c["name"] == name}


def test_connections_log_in_again_with_a_new_token(server, caplog):
    with redis.Redis(server.host, server.port, decode_responses=True) as look:
        for user in ("one", "two"):
            look.acl_setuser(user, enabled=True, passwords=[f"+pw-{user}"], keys="*", channels="*",
                             categories=["+@all"])  # fmt: skip
        provider = Provider()
        client = redis.Redis(server.host, server.port, credential_provider=provider)
        app = PyTask(client, timing=Timing().scaled(0.1))
        app.add_task(Who)
        with app:
            look.hset("t", mapping={"function": "who"})
            look.lpush("new-task", "t")
            wait_until(lambda: look.get("who") == "one")
            assert client.acl_whoami() == "one"
            provider.renew("two")
            # The user's own client is not silenced, a task's and the worker's hear of it, too.
            wait_until(lambda: look.get("who") == "two")
            assert client.acl_whoami() == "two"
            wait_until(lambda: users_of(look, "pytask-wait") == {"two"})
            wait_until(lambda: "two" in users_of(look, "pytask-store"))
            # Connections that had nothing to send since then are closed with the old user.
            look.acl_deluser("one")
            wait_until(lambda: users_of(look, "pytask-feed") == {"two"})
            wait_until(lambda: app.worker.controller.listening)
            wait_until(lambda: look.publish("task-t-control", "stop"))
            wait_until(lambda: look.hget("t", "state") == "STOPPED")
        look.acl_deluser("two")
    assert not [r for r in caplog.records if r.exc_info]
