"""Which objects are the process's, and so their threads."""

import sys
from concurrent.futures import ThreadPoolExecutor

import attrs
import gevent
import pytest

from pytask.runtime import thread_owners
from pytask.runtime.thread_owners import is_of_process, shared


class Client:
    def __init__(self):
        self.inner = None


def only_here():
    pass


@attrs.define
class Slotted:
    number: int = 1


@pytest.fixture(autouse=True)
def patched(monkeypatch):
    """As if threads were greenlets; what is noted here is forgotten."""
    monkeypatch.setattr(thread_owners.monkey, "is_module_patched", lambda _: True)
    monkeypatch.setattr(thread_owners, "_made", {})


def test_what_is_there_is_of_the_process_and_what_comes_later_is_not():
    there = [Client(), Slotted(), ThreadPoolExecutor(1)]
    thread_owners.note_all()
    assert all(map(is_of_process, there))
    assert not any(map(is_of_process, [Client(), Slotted(), ThreadPoolExecutor(1)]))
    assert not is_of_process(Client)


def test_an_object_that_has_the_address_of_a_dead_one_is_another():
    thread_owners.note_all()
    later = Client()
    thread_owners._made[id(later)] = lambda: None  # a weak reference to what died there
    assert not is_of_process(later)


def test_a_process_that_is_not_patched_notes_nothing(monkeypatch):
    monkeypatch.setattr(thread_owners.monkey, "is_module_patched", lambda _: False)
    there = Client()
    thread_owners.note_all()
    assert not is_of_process(there)


def test_what_is_made_inside_of_shared_is_of_the_process():
    before = Client()
    with shared():
        inside, (one, two) = Client(), (Slotted(), ThreadPoolExecutor(1))
    assert all(map(is_of_process, [inside, one, two]))
    assert not any(map(is_of_process, [before, Client()]))
    assert sys.getprofile() is None


def test_blocks_of_several_greenlets_do_not_disturb_each_other():
    made, go = {}, [gevent.event.Event() for _ in range(3)]

    def share(name, first, then):
        with shared():
            first.wait()
            made[name] = Client()
            then.wait()
            with shared():
                made[name, "nested"] = Client()
            made[name, "last"] = Client()
        made[name, "after"] = Client()

    blocks = [gevent.spawn(share, "a", go[0], go[1]), gevent.spawn(share, "b", go[1], go[2])]
    gevent.sleep(0)
    for number, event in enumerate(go):
        made[number] = Client()  # of a greenlet that is in no such block
        event.set()
        gevent.sleep(0)
    gevent.joinall(blocks, raise_error=True)
    for kept in ("a", ("a", "nested"), ("a", "last"), "b", ("b", "nested"), ("b", "last")):
        assert is_of_process(made[kept]), kept
    assert not any(is_of_process(made[other]) for other in (0, 1, 2, ("a", "after"), ("b", "after")))
    assert sys.getprofile() is None


def test_a_profiler_of_the_program_stays():
    profiled = []
    sys.setprofile(lambda frame, *_: profiled.append(frame.f_code.co_name))
    try:
        with shared():
            only_here()
        only_here()
    finally:
        sys.setprofile(None)
    assert profiled.count("only_here") == 4  # each is called, and returns


def test_what_fails_inside_leaves_nothing_behind():
    with pytest.raises(ValueError, match="no client"), shared():
        raise ValueError("no client")
    assert not thread_owners.is_sharing()
    assert sys.getprofile() is None
