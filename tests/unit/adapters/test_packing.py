"""Commands as bytes are what the library makes of them, and parts are packed once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.connection import Encoder, PythonRespSerializer

from pytask.adapters.keys import Keys
from pytask.adapters.redis.clients import own_client, packs
from pytask.adapters.redis.packing import Packed, Packer
from pytask.adapters.redis.store import RedisStore
from pytask.domain.leases import Chunk
from pytask.domain.lifecycle import State
from pytask.domain.record import RunRef

library = PythonRespSerializer(6000, Encoder("utf-8", "strict", decode_responses=False).encode)
WORDS = st.one_of(st.binary(max_size=50), st.text(max_size=50), st.integers(), st.floats(allow_nan=False))


@given(st.sampled_from(["EVALSHA", "CONFIG GET", b"CLIENT SETNAME"]), st.lists(WORDS, max_size=20))
def test_a_command_is_packed_as_by_the_library(name, words):
    words = [*words, State.RUNNING, bytearray(b"x"), memoryview(b"y")]
    assert b"".join(Packer().pack(name, *words)) == b"".join(library.pack(name, *words))


@given(st.lists(WORDS, max_size=10), st.lists(WORDS, max_size=10))
def test_words_that_were_packed_before_stand_where_they_are_put(some, more):
    packed = Packer().pack("EVAL", 1, Packed(some), "between", Packed(more))
    assert packed == Packer().pack("EVAL", 1, *some, "between", *more)


@pytest.mark.parametrize("word", [None, True, ["a"], {"a": 1}])
def test_what_no_command_has_is_refused(word):
    with pytest.raises(TypeError, match="bytes, text and numbers"):
        Packer().pack("SET", "a", word)


class Recorder:
    """A client, its pool and its connection in one, as far as a store needs them."""

    def __init__(self, **kwargs):
        self.connection_pool = self
        self.connection_kwargs = kwargs
        self.sent = []

    def get_connection(self):
        return self

    def send_command(self, *words):
        self.sent.append(words)

    def read_response(self):
        return [b"m", b"s", -1, -1]


def test_the_words_of_a_chunk_are_packed_once():
    client = Recorder(command_packer=Packer())
    store = RedisStore(client, Keys("é:"))
    chunk = Chunk([RunRef("a", "s:1"), RunRef("b", "s:2")])
    for _ in range(3):
        store.renew(chunk)
    (first, *others) = ([word for word in words if isinstance(word, Packed)] for words in client.sent)
    assert len(first) == 2
    assert all(mine is theirs for other in others for mine, theirs in zip(first, other, strict=True))
    plain = Recorder()
    RedisStore(plain, Keys("é:")).renew(list(chunk))
    one, two = Packer().pack(*client.sent[0])[0], Packer().pack(*plain.sent[0])[0]
    marker = b"$32\r\n"  # a new one at each call
    assert one[: one.index(marker)] == two[: two.index(marker)]
    assert one[-25:] == two[-25:]


def test_a_renewal_sends_little_for_each_run():
    """The session, which is most of a run's id, goes out once a call."""
    client = Recorder(command_packer=Packer())
    refs = [RunRef(f"job-{number:03}", f"{'0' * 32}:{number}") for number in range(250)]
    RedisStore(client, Keys("")).renew(refs)
    sent = len(b"".join(Packer().pack(*client.sent[0])))
    fixed = 400  # the script's digest, its fixed keys and arguments
    assert sent < fixed + len(refs) * (len("$7\r\njob-123\r\n") + len("123 "))


def test_a_fake_connection_gets_plain_words():
    fakeredis = pytest.importorskip("fakeredis")
    assert not packs(own_client(fakeredis.FakeRedis(), timeout=1, name="pytask-test"))


def test_a_connection_of_the_library_packs_by_ours():
    redis = pytest.importorskip("redis")
    assert packs(own_client(redis.Redis(), timeout=1, name="pytask-test"))
    assert not packs(redis.Redis())
