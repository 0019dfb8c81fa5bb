# ruff: noqa: E501 - tables of odd things
"""What a producer who means harm may push, as strategies; large things are drawn as recipes."""

import attrs
from hypothesis import strategies as st

COPIES = 16  # of a push that is small, each under an id of its own
LARGE = 10_000  # bytes of data from which a push comes alone
OWN = (b"pytask:", b"new-task")

ODD_TEXT = (
    "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "two\nlines", "cr\rlf\r\n", "\u2028", "\u202etxt.exe", "\x00",
    "\x9b31m", "e\u0301", "\u00e9", "\u200b", "\ufeff", "\U0001f468\u200d\U0001f469", "{tag}", "a b", "%s%n", "${x}",
    "../..", "*", "[a-z]", "\\", '"', "'", "None", "-", ":", "task-", "-control", "pytask", "Pytask:runs",
)  # fmt: skip
ODD_FIELDS = (
    b"", b"0", b"-1", b"1", b"inf", b"-inf", b"nan", b"1e308", b"1e999999", b"0x10", b"9" * 400, b"9" * 100_000,
    b"9007199254740993", b"\xff\xfe", b"RUNNING", b"WAIT", b"ENDED", b"STOPPED", b"stop", b"reload", b"STOP",
    b"x" * 50_000, b"s:1", b"\n", b" ", b"\x00",
)  # fmt: skip
ODD_DATA = (
    b"", b"null", b"true", b"0", b'"text"', b"[]", b"[{}]", b"{}", b"{", b"}", b'{"a":1}', b'{"a":1,"a":2,"a":[]}',
    b'{"a":NaN}', b'{"a":Infinity}', b'{"a":-Infinity}', b'{"a":1e999999}', b'{"a":-1e999999}', b'{"a":1e-999999}',
    b'{"a":0.1e+}', b'{"a":00}', b'{"a":"\\ud800"}', b'{"a":"\\u0000"}', b'{"a":"\xff"}', b'\xef\xbb\xbf{"a":1}',
    b"{'a':1}", b'{"__class__":"os.system","__init__":[]}', b'{"":{"":{"":{}}}}', b"{}{}", b"{} x", b"\x00", b"\x80",
    b'!!python/object/apply:os.system ["id"]', b"cos\nsystem\n(S'id'\ntR.", '{"a":1}'.encode("utf-16"),
)  # fmt: skip

sizes = st.sampled_from([10, 1_000, 100_000])
texts = st.text(max_size=30) | st.sampled_from(ODD_TEXT)


def weighted(*pairs):
    """One of the strategies, each as often as its weight says."""
    return st.sampled_from([one for weight, one in pairs for _ in range(weight)]).flatmap(lambda one: one)


def raw(text):
    return text.encode(errors="surrogatepass")


plain_ids = st.builds(lambda number, text: raw(f"job{number}-{text}"), st.integers(0, 10**6), texts)
odd_ids = st.one_of(
    st.binary(max_size=40),
    st.builds(
        lambda unit, times: (unit * times)[:2_000], st.binary(min_size=1, max_size=8), st.integers(1, 2_000)
    ),
    st.lists(texts, min_size=1, max_size=4).map("".join).map(raw),
    texts.map(lambda text: raw("pytask:" + text)),
    st.sampled_from(
        [b"new-task", b"pytask:runs", b"pytask:leases", b"pytask:index:WAIT", b"pytask:rejected"]
    ),
    texts.map(lambda text: raw(text + "-control")),
)
ids = weighted((4, plain_ids), (1, odd_ids))

functions = weighted(
    (6, st.sampled_from([b"shot", b"fail", b"bad"])),
    (1, st.binary(max_size=600)),
    (1, texts.map(raw)),
    (1, sizes.map(lambda size: b"f" * size)),
    (1, st.none()),
)

data = st.one_of(
    st.sampled_from(ODD_DATA),
    st.sampled_from(ODD_DATA),
    st.binary(max_size=60),
    sizes.map(lambda size: b'{"a":' + b"[" * size + b"]" * size + b"}"),
    sizes.map(lambda size: b'{"a":' * size + b"1" + b"}" * size),
    sizes.map(lambda size: b"[" * size),
    sizes.map(lambda size: b'{"a":' + b"9" * size + b"}"),
    sizes.map(lambda size: b'{"a":0.' + b"9" * size + b"}"),
    sizes.map(lambda size: b'{"' + b"k" * size + b'":"' + b"\\u20ac" * (size // 6) + b'"}'),
    sizes.map(lambda size: b"{" + b",".join(b'"%d":%d' % (n, n) for n in range(size // 10)) + b"}"),
)

odd = st.sampled_from(ODD_FIELDS) | st.binary(max_size=20)
fields = st.dictionaries(
    st.sampled_from(
        ["control", "epoch", "state", "run", "attempts", "last_update", "worker", "last_run", "output"]
    ),
    odd,
    max_size=5,
)
seldom = st.dictionaries(st.sampled_from(["crashes", "crash_at", "local", "error"]), odd, max_size=2)
kinds = st.sampled_from(["hash"] * 10 + ["none", "string", "list", "set", "zset"])
payloads = st.one_of(
    st.sampled_from(
        [b"stop", b"start", b"reload", b"STOP", b"stop\n", b" stop", b"", b"\xff", b"reload\x00"]
    ),
    st.binary(max_size=30),
    sizes.map(lambda size: b"s" * size),
)


@attrs.frozen(kw_only=True)
class Push:
    """One id for the queue, what lies under its key, and a message to its control channel."""

    id: bytes
    kind: str
    fields: dict
    payload: bytes | None

    @property
    def copies(self):
        """The ids to push it under."""
        large = sum(map(len, self.fields.values())) > LARGE or len(self.id) > 512
        # Tasks that crashed before are taken one at a time, on purpose.
        if large or "crashes" in self.fields:
            return [self.id]
        return [self.id, *(self.id + b"%d" % number for number in range(1, COPIES))]

    def send(self, pipe):
        """Into a pipeline whose errors do not count (a key may have another type by now)."""
        for task_id in self.copies:
            # pytask's own keys are beyond a producer's rights: such an id is only pushed.
            if not task_id.startswith(OWN):
                self._write(pipe, task_id)
            pipe.lpush("new-task", task_id)
        if self.payload is not None:
            pipe.publish(b"task-" + self.id + b"-control", self.payload)

    def _write(self, pipe, key):
        if self.kind == "hash" and self.fields:
            pipe.hset(key, mapping=self.fields)
        elif self.kind == "string":
            pipe.set(key, b"x" * 100)
        elif self.kind == "list":
            pipe.rpush(key, b"x")
        elif self.kind == "set":
            pipe.sadd(key, b"x")
        elif self.kind == "zset":
            pipe.zadd(key, {b"x": 1})


def _merged(function, text, more, rare):
    named = {name: value for name, value in (("function", function), ("data", text)) if value is not None}
    return named | more | rare


pushes = st.builds(
    Push,
    id=ids,
    kind=kinds,
    fields=st.builds(
        _merged,
        functions,
        weighted((9, data), (1, st.none())),
        weighted((2, st.just({})), (1, fields)),
        weighted((15, st.just({})), (1, seldom)),
    ),
    payload=weighted((4, st.none()), (1, payloads)),
)
