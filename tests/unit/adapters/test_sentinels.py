"""The walk over the sentinels: what hangs is asked last from then on, by every connection."""

import asyncio

import pytest
import redis
from redis.asyncio.sentinel import Sentinel as AwaitedSentinel
from redis.sentinel import Sentinel

from pytask.adapters.redis.sentinels import AwaitedSentinels, Sentinels

HANGING = redis.TimeoutError("Timeout reading from socket")


class Fakes:
    """Sentinels by port: what each answers, and in which order they were asked."""

    def __init__(self):
        self.answers, self.asked, self.limits = {}, [], []

    def ask(self, client):
        given = client.connection_pool.connection_kwargs
        self.asked.append(given["port"])
        self.limits.append((given["socket_connect_timeout"], given["socket_timeout"]))
        answer = self.answers[given["port"]]
        if isinstance(answer, BaseException):
            raise answer
        return {"primary": answer}


@pytest.fixture
def fakes(monkeypatch):
    made = Fakes()

    async def awaited(client):
        return made.ask(client)

    monkeypatch.setattr(redis.Redis, "sentinel_masters", lambda client: made.ask(client))  # noqa: PLW0108 - bound to each client
    monkeypatch.setattr(redis.asyncio.Redis, "sentinel_masters", awaited)
    return made


def knows(port, **state):
    return {
        "is_master": True, "is_sdown": False, "is_odown": False, "num-other-sentinels": 2, "ip": "h",
        "port": port, **state,
    }  # fmt: skip


@pytest.fixture(params=["sync", "asyncio"])
def walks(request):
    """`walks(manager options)`: discoveries of one manager, each by another connection's walk."""

    def make(**options):
        kind = Sentinel if request.param == "sync" else AwaitedSentinel
        manager = kind([("h", port) for port in (1, 2, 3)], **options)

        def discover(limit=3.0):
            if request.param == "sync":
                return Sentinels(manager, limit).discover_master("primary")
            return asyncio.run(AwaitedSentinels(manager, limit).discover_master("primary"))

        return discover

    return make


def test_each_is_asked_within_a_share_of_the_walk_and_without_the_users_retries(fakes, walks):
    fakes.answers = {1: HANGING, 2: HANGING, 3: knows(6379)}
    assert walks(socket_timeout=None)() == ("h", 6379)
    assert (fakes.asked, fakes.limits) == ([1, 2, 3], [(1.5, 1.5)] * 3)


def test_a_shorter_limit_of_the_user_stays(fakes, walks):
    fakes.answers = {1: knows(6379)}
    walks(socket_timeout=0.2)()
    assert fakes.limits == [(1.5, 0.2)]


def test_the_next_walk_of_any_connection_begins_behind_the_one_that_hangs(fakes, walks, caplog):
    fakes.answers = {1: HANGING, 2: knows(6379), 3: knows(6379)}
    discover = walks()
    assert discover() == discover() == ("h", 6379)
    assert fakes.asked == [1, 2, 2]
    assert caplog.text.count("[PT135] sentinel h:1 does not return") == 1


def test_a_walk_that_is_cut_short_goes_on_behind_the_sentinel_that_took_its_time(fakes, walks):
    fakes.answers = {1: RuntimeError("the caller's time is over"), 2: knows(6379)}
    discover = walks()
    with pytest.raises(RuntimeError):
        discover()
    assert discover() == ("h", 6379)
    assert fakes.asked == [1, 2]


def test_a_walk_ends_with_its_time_and_the_next_one_goes_on(fakes, walks, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    fakes.answers = {1: HANGING, 2: HANGING, 3: knows(6379)}
    discover = walks()
    ask = fakes.ask

    def slow(client):
        now[0] += 1.5
        return ask(client)

    async def slow_awaited(client):
        return slow(client)

    monkeypatch.setattr(redis.Redis, "sentinel_masters", slow)
    monkeypatch.setattr(redis.asyncio.Redis, "sentinel_masters", slow_awaited)
    with pytest.raises(redis.ConnectionError):
        discover()
    assert discover() == ("h", 6379)
    assert fakes.asked == [1, 2, 3]


def test_what_the_library_checks_of_an_answer_stays_checked(fakes, walks):
    fakes.answers = {1: knows(1, is_sdown=True), 2: knows(2, **{"num-other-sentinels": 0}), 3: knows(3)}
    assert walks(min_other_sentinels=1)() == ("h", 3)


def test_none_that_knows_the_primary_is_the_librarys_own_error_in_short_words(fakes, walks):
    fakes.answers = {1: HANGING, 2: redis.ConnectionError("refused"), 3: knows(1, is_odown=True)}
    with pytest.raises(redis.ConnectionError) as caught:
        walks(sentinel_kwargs={"password": "sesame"})()
    assert type(caught.value).__name__ == "MasterNotFoundError"
    text = str(caught.value)
    assert text.startswith("no sentinel returns the address of the primary 'primary': h:1: ")
    assert [word in text for word in ("TimeoutError", "h:2: ", "h:3: No master found")] == [True] * 3
    assert "password" not in text
    assert len(text) < 200
