"""What happens when a real server refuses: nothing, and our own error says so."""

import contextlib
import time

import pytest
import redis

from pytask.adapters.redis.backend import RedisBackend
from pytask.domain.errors import Refused, Unavailable, WrongKeyType
from pytask.domain.figures import WorkerInfo
from pytask.domain.lifecycle import ENDED, STOPPED, WAIT, Trigger
from pytask.domain.messages import Command, IdFault
from pytask.domain.record import (
    Adoption,
    Change,
    Expiry,
    Notes,
    Verdict,
)
from tests.contract.benches import SOON

X = b'{"event":"x","data":null}'
INFO = WorkerInfo(session="s", name="w", host="h", pid=1, running=0)


@pytest.fixture
def crowd(real):
    """A bench with two runs, a waiting, an unknown and a finished task, and an id without a hash."""
    real.first, real.second = real.running("one"), real.running("two")
    real.store.commit([Change("done", real.running("done").run, b"", Trigger.END)])
    real.set_index(ENDED, "done", 1_000_000)  # for retire
    real.push("strange", function="g")
    real.lpush("nothing")
    real.push("waiting")
    real.push("odd", function="h")
    real.store.park("odd", "h", X)
    real.raw.delete(real.keys.parking("h"))  # its name is there without its list, for unpark
    real.write("ghost", function="f", state="RUNNING", last_update="1")  # for repair
    real.set_lease("nobody", 5)  # for forget
    real.events()
    return real


VERBS = {
    "claim": lambda b: b.claim(b.ref("waiting")),
    "reject": lambda b: b.store.reject(b"nothing", IdFault.NO_HASH),
    "park": lambda b: b.store.park("strange", "g", X),
    "renew": lambda b: b.store.renew([b.first]),
    "commit": lambda b: b.store.commit([Change("one", b.first.run, X, Trigger.RELEASE)]),
    "note": lambda b: b.store.note([Notes("one", b.first.run, (b"1",), b"{}", X)], 5, 9),
    "reload": lambda b: b.store.reload(b.first, b.ref("one"), "w", 1000),
    "open_local": lambda b: b.store.open_local(b.ref("local"), "f", b"null", "w"),
    "stop": lambda b: b.store.control(Command.STOP, ["one"]),
    "cancel": lambda b: b.store.control(Command.STOP, ["waiting"]),
    "start": lambda b: b.store.control(Command.START, ["done"]),
    "request": lambda b: b.store.control(Command.RELOAD, ["one"]),
    "expire": lambda b: b.store.expire([Expiry(id="one", run=b.first.run, seen=b.seen)]),
    "repair": lambda b: b.store.repair(0, 90),
    "forget": lambda b: b.store.suspects(-1000, 0),
    "unpark": lambda b: b.store.parked(),
    "tidy": lambda b: b.store.tidy("m", 90),
    "retire": lambda b: b.store.retire(),
    "announce": lambda b: b.store.announce(INFO),
    "adopt": lambda b: b.store.adopt([Adoption("one", "s:later", 10**15)], "w"),
    "restore": lambda b: b.store.restore("lost", "f", b"1"),
}
TOUCHES = {
    "runs": set(VERBS) - {"reject", "unpark", "tidy", "announce"},
    "leases": {"claim", "renew", "commit", "reload", "open_local", "expire", "repair", "adopt", "forget"},
    "queue": {
        "claim",
        "reject",
        "park",
        "cancel",
        "start",
        "stop",
        "expire",
        "repair",
        "adopt",
        "restore",
        "retire",
    },
}


def attempt(crowd, verb):
    is_well = crowd.raw.type(crowd.keys.leases) == b"zset"
    crowd.seen = crowd.leases()["one"] if is_well else 0
    VERBS[verb](crowd)


@pytest.fixture
def broken(crowd):
    """Replaces one of our own keys by a string."""

    def put(name):
        crowd.drop(name)
        crowd.raw.set(getattr(crowd.keys, name), "x")

    return put


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", ["runs", "leases", "queue"])
def test_a_key_of_our_own_of_another_type_stops_a_verb_before_it_wrote(crowd, broken, name, verb):
    broken(name)
    before = crowd.dump()
    if verb in TOUCHES[name]:
        with pytest.raises(WrongKeyType):
            attempt(crowd, verb)
    elif (name, verb) == ("queue", "commit"):
        release = Change("one", crowd.first.run, X, Trigger.RELEASE)
        end = Change("two", crowd.second.run, X, Trigger.END)
        assert crowd.store.commit([release]) == [Verdict.BADTYPE]
        assert crowd.dump() == before
        assert crowd.store.commit([release, end]) == [Verdict.BADTYPE, Verdict.OK]
        crowd.assert_registered(crowd.first)
        crowd.assert_at_rest("two", ENDED)
        return
    else:
        attempt(crowd, verb)
        return
    assert crowd.dump() == before
    assert crowd.events() == []


@pytest.fixture
def settings(crowd):
    """CONFIG SET, undone afterwards."""
    changed = {}

    def put(**values):
        for word, value in values.items():
            name = word.replace("_", "-")
            changed.setdefault(name, crowd.raw.config_get(name)[name])
            crowd.raw.config_set(name, value)

    yield put
    for name, value in changed.items():
        crowd.raw.config_set(name, value)


ADDS = {"claim", "reject", "park", "note", "reload", "open_local", "start", "restore", "repair"}


@pytest.mark.parametrize("verb", VERBS)
def test_a_full_server_refuses_what_adds_and_nothing_else(crowd, settings, verb):
    before = crowd.dump()
    settings(maxmemory_policy="noeviction", maxmemory=1)
    if verb in ADDS:
        with pytest.raises(Refused, match=r"OOM|maxmemory"):
            attempt(crowd, verb)
    else:
        attempt(crowd, verb)
    settings(maxmemory=0)
    assert (crowd.dump() == before) is (verb in ADDS)
    assert crowd.events() == [] or verb not in ADDS


def test_a_full_server_still_renews_settles_and_expires(crowd, settings):
    third = crowd.running("three")
    crowd.set_lease("one", 5)
    settings(maxmemory_policy="noeviction", maxmemory=1)
    assert crowd.store.renew([crowd.first, crowd.second]) == {}
    assert crowd.leases()["one"] > 5
    batch = [
        Change("one", crowd.first.run, X, Trigger.END, {"output": b"1"}, 60),
        Change("two", crowd.second.run, X, Trigger.RELEASE),
    ]
    assert crowd.store.commit(batch) == [Verdict.OK, Verdict.OK]
    assert crowd.store.expire([crowd.expiry(third)]) == [Verdict.OK]
    settings(maxmemory=0)
    crowd.assert_at_rest("one", ENDED)
    crowd.assert_at_rest("two", WAIT)
    crowd.assert_at_rest("three", WAIT)
    assert crowd.queue()[0] == "three"
    assert crowd.queue()[-1] == "two"


def test_a_full_server_still_takes_requests(crowd, settings):
    settings(maxmemory_policy="noeviction", maxmemory=1)
    assert crowd.store.control(Command.STOP, ["one", "waiting"]) == [Verdict.REQUESTED, Verdict.OK]
    assert crowd.store.control(Command.RELOAD, ["two"]) == [Verdict.REQUESTED]
    settings(maxmemory=0)
    assert crowd.hash("one")["control"] == "stop"
    assert crowd.hash("two")["control"] == "reload"
    crowd.assert_at_rest("waiting", STOPPED)


def test_a_lost_registry_is_restored_on_a_full_server(crowd, settings):
    settings(maxmemory_policy="noeviction", maxmemory=1)
    crowd.drop("runs")
    assert crowd.store.renew([crowd.first]) == {}
    settings(maxmemory=0)
    crowd.assert_registered(crowd.first)


@pytest.fixture
def replica(crowd):
    """The server becomes the replica of a primary that is not there."""
    crowd.raw.execute_command("REPLICAOF", "127.0.0.1", 1)
    yield
    crowd.raw.execute_command("REPLICAOF", "NO", "ONE")


@pytest.mark.parametrize("verb", VERBS)
def test_a_replica_changes_nothing(crowd, replica, verb):
    before = crowd.dump()
    with pytest.raises(Refused, match=r"READONLY|read only"):
        attempt(crowd, verb)
    assert crowd.dump() == before


@pytest.mark.parametrize("verb", VERBS)
def test_a_primary_without_the_replicas_it_needs_changes_nothing(crowd, settings, verb):
    before = crowd.dump()
    settings(min_replicas_to_write=1)
    with pytest.raises(Refused, match="NOREPLICAS"):
        attempt(crowd, verb)
    assert crowd.dump() == before


# For each verb the task it is about.
SUBJECTS = {
    "claim": "waiting", "reject": "nothing", "park": "strange", "renew": "one", "commit": "one",
    "reload": "one",
    "stop": "one", "cancel": "waiting", "start": "done", "request": "one", "expire": "one", "adopt": "one",
    "open_local": "local", "restore": "lost", "repair": "ghost", "forget": "nobody",
}  # fmt: skip


def others(crowd, dump, subject):
    """What is kept of all other tasks: their hashes, and their entries in what is common."""
    lists = {key: value for key, value in dump.items() if key in (b"new-task", b"pytask:runs")}
    found = {key: value for key, value in dump.items() if not key.startswith((b"pytask:", b"new-task"))}
    found.pop(subject.encode(), None)
    for key, (_, values, _) in lists.items():
        found[key] = [entry for entry in values if subject.encode() not in (entry, entry[0])]
    return found


@pytest.mark.parametrize("fault", ["other type", "no hash"])
@pytest.mark.parametrize("verb", SUBJECTS)
def test_a_task_whose_hash_is_no_longer_one_is_not_written(crowd, verb, fault):
    subject = SUBJECTS[verb]
    crowd.delete(subject)
    if fault == "other type":
        crowd.set_string(subject)
    before, crowd.seen = crowd.dump(), crowd.leases()["one"]
    makes = verb in ("open_local", "restore") and fault == "no hash"
    try:
        VERBS[verb](crowd)
    except WrongKeyType:
        assert crowd.dump() == before
        assert crowd.events() == []
    after = crowd.dump()
    assert others(crowd, after, subject) == others(crowd, before, subject) or verb == "repair"
    if not makes:  # neither a ghost of some fields nor another value
        assert after.get(subject.encode()) == before.get(subject.encode())


SHARED = ("workers", "worker_info", "monitors", "rejected", "parked", "incarnation")


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", [*SHARED, "index"])
def test_a_verb_that_meets_another_type_elsewhere_wrote_nothing_or_all(crowd, verb, name):
    keys = [*crowd.keys.indexes] if name == "index" else [getattr(crowd.keys, name)]
    crowd.raw.delete(*keys)
    for key in keys:
        crowd.raw.set(key, "x")
    before = crowd.dump()
    try:
        attempt(crowd, verb)
    except WrongKeyType:
        assert crowd.dump() == before
        assert crowd.events() == []
    else:
        assert all(crowd.raw.get(key) == b"x" for key in keys)


@pytest.fixture
def cannot_save(crowd, settings):
    """The last snapshot failed: a folder stands where its file should go."""
    folder = crowd.server.folder / "dump.rdb"
    folder.mkdir()
    crowd.raw.bgsave()
    until = time.monotonic() + SOON
    while (info := crowd.raw.info("persistence"))["rdb_bgsave_in_progress"]:
        assert time.monotonic() < until
        time.sleep(0.005)
    assert info["rdb_last_bgsave_status"] == "err"
    settings(save="3600 1000000")
    yield
    folder.rmdir()


@pytest.mark.parametrize("verb", ["claim", "renew", "commit"])
def test_a_server_that_cannot_save_changes_nothing(crowd, cannot_save, verb):
    before = crowd.dump()
    with pytest.raises(Refused, match="MISCONF"):
        VERBS[verb](crowd)
    assert crowd.dump() == before


def test_scripts_that_the_server_forgot_are_sent_again(crowd):
    crowd.raw.script_flush()
    assert crowd.store.renew([crowd.first, crowd.second]) == {}
    crowd.raw.script_flush()
    assert [claim.verdict for claim in crowd.claim(crowd.ref("waiting"))] == [Verdict.OK]


def test_a_store_goes_on_after_its_connection_was_cut(crowd):
    crowd.store.renew([crowd.first])
    for one in crowd.raw.client_list():
        if one["name"] == "pytask-store":
            crowd.raw.client_kill(one["addr"])
    with contextlib.suppress(Unavailable):  # redis-py may notice before it sends
        crowd.store.renew([crowd.first])
    assert crowd.store.renew([crowd.first]) == {}


def test_a_server_that_is_not_there():
    backend = RedisBackend(redis.Redis(host="127.0.0.1", port=1))
    with pytest.raises(Unavailable):
        backend.check()
    with pytest.raises(Unavailable):
        backend.queue().wait(0.1)
    with pytest.raises(Unavailable):
        backend.feed("s").open()
