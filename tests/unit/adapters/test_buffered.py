"""Messages that are taken from the buffer of a connection: whole ones of the pattern, and nothing else."""

from io import BytesIO
from types import SimpleNamespace

import pytest
import redis
import valkey
from redis._parsers import _RESP2Parser
from redis._parsers.socket import SocketBuffer

from pytask.adapters.redis import buffered
from pytask.adapters.redis.buffered import Buffered

PATTERN = "task-*-control"


def packed(*words):
    return b"*%d\r\n" % len(words) + b"".join(map(packed_word, words))


def packed_word(word):
    return b":%d\r\n" % word if isinstance(word, int) else b"$%d\r\n%s\r\n" % (len(word), word)


def of_task(task_id, data):
    return packed(b"pmessage", PATTERN.encode(), b"task-%s-control" % task_id, data)


WANTED = [
    (b"task-a-control", b"stop"),
    (b"task-\xff\r\n$3\r\n-control", b"start"),
    (b"task-b-control", b""),
    (b"task-c-control", b"x\r\n" * 50),
    (b"task--control", b"reload"),
]
STREAM = [of_task(channel[5:-8], data) for channel, data in WANTED]


def connection(data, read=0):
    """A connection whose parser has received `data`, and handed on `read` bytes of it."""
    made = SocketBuffer(None, 65536, 1)
    made._buffer.write(data)
    made._buffer.seek(read)
    return SimpleNamespace(_parser=SimpleNamespace(_buffer=made))


def rest(one):
    return one._parser._buffer._buffer.read()


@pytest.mark.parametrize("before", [b"", b"+PONG\r\n"])
def test_every_part_of_a_stream_gives_its_whole_messages(before):
    whole = b"".join(STREAM)
    ends = [len(b"".join(STREAM[: n + 1])) for n in range(len(STREAM))]
    for cut in range(len(whole) + 1):
        one = connection(before + whole[:cut], len(before))
        number = sum(end <= cut for end in ends)
        assert list(Buffered(PATTERN).messages(one)) == WANTED[:number], cut
        assert rest(one) == whole[ends[number - 1] if number else 0 : cut]


OTHERS = {
    "of a channel": packed(b"message", b"pytask:hint", b"f"),
    "of another pattern": packed(b"pmessage", b"task-?-control", b"task-a-control", b"stop"),
    "of a longer pattern": packed(b"pmessage", PATTERN.encode() + b"s", b"task-a-controls", b"stop"),
    "a confirmation": packed(b"psubscribe", PATTERN.encode(), 1),
    "an error": b"-ERR no\r\n",
}


@pytest.mark.parametrize("kind", OTHERS)
def test_all_else_stays_for_the_library(kind):
    one = connection(STREAM[0] + OTHERS[kind] + STREAM[1])
    assert list(Buffered(PATTERN).messages(one)) == WANTED[:1]
    assert rest(one) == OTHERS[kind] + STREAM[1]


def test_messages_are_removed_one_by_one():
    one = connection(b"".join(STREAM))
    for _message in Buffered(PATTERN).messages(one):
        break
    assert rest(one) == b"".join(STREAM[1:])


def test_what_was_read_is_dropped():
    one = connection(b"".join(STREAM))
    list(Buffered(PATTERN).messages(one))
    assert one._parser._buffer._buffer.getvalue() == b""


def test_an_unknown_buffer_is_left_alone():
    for parser in (None, SimpleNamespace(), SimpleNamespace(_buffer=object()), SimpleNamespace(_buffer=b"")):
        assert list(Buffered(PATTERN).messages(SimpleNamespace(_parser=parser))) == []


@pytest.mark.parametrize("library", [redis, valkey])
def test_the_libraries_have_the_buffer_that_it_expects(library):
    """Otherwise it would read nothing, and only be slow."""
    parser = library.connection.DefaultParser
    if "Hiredis" in parser.__name__:
        parser = _RESP2Parser
    made = parser(socket_read_size=65536)
    made.on_connect(SimpleNamespace(
        _sock=None, socket_timeout=1, encoder=library.connection.Encoder("utf-8", "strict", False),
        handshake_metadata=None,
    ))  # fmt: skip
    assert isinstance(made._buffer._buffer, BytesIO)
    assert callable(made._buffer.purge)
    assert buffered.END == b"\r\n"
