"""The page without a server: falcon's test client on a Redis in memory."""

import fakeredis
import pytest
from falcon import testing

import pytask
from pytask import web
from pytask.web import application, live
from pytask.web.site import Site

OWN = {"Sec-Fetch-Site": "same-origin"}


class Page:
    """One application, as a browser uses it."""

    def __init__(self, client, redis, **options):
        self.client, self.redis = client, redis
        made = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(application, "Site", lambda *words: made.append(Site(*words)) or made[-1])
            self.app = web.app(client, **options)
        (self.site,) = made
        self._test = testing.TestClient(self.app, headers={"Host": "localhost"})
        self.cookies = {}

    def get(self, path, **headers):
        return self._asked("GET", path, headers=headers)

    def post(self, path, fields=(), headers=OWN):
        from urllib.parse import urlencode

        return self._asked("POST", path, headers=dict(headers), body=urlencode(fields, doseq=True))

    def follow(self, answer):
        """The page that an action leads to."""
        assert answer.status_code == 303, answer.text
        return self.get(answer.headers["location"])

    def _asked(self, method, path, headers, **more):
        if "body" in more:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        path, _, query = path.partition("?")
        answer = self._test.simulate_request(
            method,
            path,
            query_string=query,
            headers=headers,
            cookies=self.cookies,
            remote_addr="127.0.0.1",
            **more,
        )
        for name, cookie in answer.cookies.items():
            self.cookies[name] = cookie.value
        return answer


@pytest.fixture
def redis():
    return fakeredis.FakeRedis()


@pytest.fixture
def client(redis):
    with pytask.Client(redis, name="ann@desk") as made:
        yield made


@pytest.fixture
def sent(client, monkeypatch):
    """What was sent to Redis: a list of commands for each round trip."""
    found, driver = [], client._driver
    send = driver.send

    def noted(commands):
        found.append([words for _, words in commands])
        return send(commands)

    monkeypatch.setattr(driver, "send", noted)
    return found


@pytest.fixture
def page(client, redis, monkeypatch):
    """`page(**options)`; nothing looks in the background."""
    monkeypatch.setattr(live.Hub.__init__, "__defaults__", (lambda: None, lambda _work: None))
    return lambda **options: Page(client, redis, **options)


@pytest.fixture
def running(redis):
    """Makes a task RUNNING, as a worker would have."""

    def make(task_id, **fields):
        run = f"session-1:{task_id}"
        redis.hset(task_id, mapping={"function": "f", "state": "RUNNING", "run": run, "epoch": 5} | fields)
        redis.hset("pytask:runs", task_id, run)
        redis.zadd("pytask:leases", {task_id: 1e15})

    return make
