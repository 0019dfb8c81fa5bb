"""The examples do what they say; the synopsis is tried in test_cli.py."""

import json
import sys
import urllib.request

import pytest
import redis

from tests.support.cli_tools import EXAMPLES, Started, pytask, until
from tests.support.servers import start_server


@pytest.fixture
def client():
    with start_server("valkey") as server, redis.Redis.from_url(server.url, decode_responses=True) as made:
        made.url = server.url
        yield made


def request(method, url, body=None):
    with urllib.request.urlopen(urllib.request.Request(url, body, method=method), timeout=10) as answer:
        return answer.read()


def test_watch_urls_against_the_local_site(client, tmp_path):
    site = Started([sys.executable, str(EXAMPLES / "local_site.py"), "0"], tmp_path)
    worker = Started(pytask("run", EXAMPLES / "watch_urls.py", "--redis", client.url), tmp_path)
    with site, worker, client.pubsub(ignore_subscribe_messages=True) as events:
        site.says("/news\n")
        page = site.output.splitlines()[0]
        events.subscribe("task-news")
        received = []

        def hears(event):
            message = events.get_message(timeout=0.1)
            if message:
                received.append(json.loads(message["data"]))
            return next((one["data"] for one in received if one["event"] == event), None)

        client.hset(
            "news", mapping={"function": "watch-urls", "data": json.dumps({"urls": [page], "interval": 0.2})}
        )
        client.lpush("new-task", "news")
        first = until(lambda: hears("up"), lambda: worker.output)
        assert (first["url"], first["status"]) == (page, 200)

        request("PUT", page, b"Something happened")
        changed = until(lambda: hears("changed"), lambda: worker.output)
        assert changed["url"] == page
        assert changed["sha256"] != first["sha256"]

        received.clear()
        request("DELETE", page)
        assert "404" in until(lambda: hears("down"), lambda: worker.output)["status"]
        request("PUT", page, b"back")
        until(lambda: hears("up"), lambda: worker.output)
        assert worker.end() == 0
        assert client.hget("news", "state") == "WAIT"


def test_watch_urls_refuses_data_that_does_not_fit(client, tmp_path):
    with Started(pytask("run", EXAMPLES / "watch_urls.py", "--redis", client.url), tmp_path) as worker:
        client.hset("wrong", mapping={"function": "watch-urls", "data": '{"urls": "http://x"}'})
        client.lpush("new-task", "wrong")
        until(lambda: client.hget("wrong", "state") == "ERROR", lambda: worker.output)
        assert "$.urls" in client.hget("wrong", "error")
