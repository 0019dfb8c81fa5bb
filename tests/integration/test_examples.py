"""The examples do what they say; the synopsis is tried in test_cli.py."""

import json
import sys
import urllib.request

import pytest
import redis

from pytask import Client
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


def test_agents_go_on_with_their_conversations_through_a_deploy(client, tmp_path):
    model = Started([sys.executable, str(EXAMPLES / "local_model.py"), "0", "0.02"], tmp_path)
    with model:
        model.says("http://")
        address = model.output.split()[0]
        command = pytask("run", EXAMPLES / "agents.py", "--redis", client.url)
        first = Started(command, tmp_path, MODEL=address)
        with first, Client(client.url, timeout=5, connect_timeout=5) as people:
            first.says("takes tasks from")
            orders = [("agent", {"account": f"a{n % 3}", "turns": 8, "pause": 0.05}) for n in range(40)]
            ids = people.start_many(orders)
            until(
                lambda: sum(json.loads(request("GET", f"{address}/turns")).values()) > 80,
                lambda: first.output,
            )
            second = Started(command, tmp_path, MODEL=address)
            with second:
                second.says("takes tasks from")
                assert first.end() == 0, first.output
                found = [people.wait(task_id, timeout=60) for task_id in ids]
                assert second.end() == 0, second.output
        assert {one.state for one in found} == {"ENDED"}
        assert all(one.output == {"last": "well then let us see 7", "turns": 8} for one in found)
        said = json.loads(request("GET", f"{address}/turns"))
        assert set(said.values()) <= {8, 9}  # a turn whose last word crossed the deploy is said again
