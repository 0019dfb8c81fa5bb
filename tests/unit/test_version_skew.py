"""Words of a newer release in a script's reply: told once, and nothing follows from them."""

import logging

import pytest

from pytask.adapters.keys import Keys
from pytask.adapters.redis import replies
from pytask.adapters.redis.store import RedisStore
from pytask.domain.lifecycle import Trigger
from pytask.domain.messages import Command, IdFault
from pytask.domain.record import Change, Claim, ClaimRequest, Expiry, InForce, RunRef, Verdict

REF = RunRef("a", "s:1")


class Newer:
    """Answers every script as told."""

    def __init__(self, reply):
        self.reply = reply

    def execute_command(self, *_words):
        return self.reply

    def pipeline(self, **_options):
        return self

    def execute(self, **_options):
        return [b"f"]


def store(reply):
    return RedisStore(Newer(reply), Keys())


JUDGED = Claim("a", "s:1", Verdict.OK)
REQUEST = ClaimRequest(refs=(REF,), functions=frozenset("f"), worker="w")
CALLS = {
    "claim": (lambda s: s.claim(REQUEST)[0].verdict, [b"LATER", b""]),
    "reload": (lambda s: s.reload(REF, REF, "w", 9).verdict, [b"LATER", b"1", b"more"]),
    "preview": (lambda s: s.preview(REF, 9).verdict, [b"LATER", b"1"]),
    "refuse": (lambda s: s.refuse(JUDGED, "$", "bad", InForce("f", None)), b"LATER"),
    "accept": (lambda s: s.accept(JUDGED, "s:1#1", "w").verdict, [b"LATER"]),
    "settle": (lambda s: s.settle(REF), b"LATER"),
    "open_local": (lambda s: s.open_local(REF, "f", b"1", "w").verdict, [b"LATER"]),
    "reject": (lambda s: s.reject(b"a", IdFault.CONTROL), b"LATER"),
    "park": (lambda s: s.park("a", "f", b""), b"LATER"),
    "commit": (lambda s: s.commit([Change("a", "s:1", b"", Trigger.END)])[0], b"LATER"),
    "expire": (lambda s: s.expire([Expiry(id="a", run="s:1", seen=1)])[0], [b"LATER"]),
    "stop": (lambda s: s.control(Command.STOP, ["a"])[0], [b"LATER"]),
}


@pytest.mark.parametrize("verb", CALLS)
def test_an_unknown_verdict_is_foreign_and_never_won(verb):
    call, reply = CALLS[verb]
    assert call(store(reply)) is Verdict.UNRECOGNIZED


def test_a_claim_with_an_unknown_verdict_is_not_won():
    assert not store([b"LATER", b""]).claim(REQUEST)[0].won


def test_what_follows_an_unknown_verdict_in_a_claim_is_not_guessed_at():
    refs = (REF, RunRef("b", "s:2"), RunRef("c", "s:3"))
    request = ClaimRequest(refs=refs, functions=frozenset("f"), worker="w")
    reply = [b"MOVED LATER OK 8 0 0 1 1 OK 9 0 0 1 1", b"11"]
    newer = store(reply)
    claims = newer.claim(request)
    assert newer.ahead is None
    assert [(claim.id, claim.run) for claim in claims] == [(ref.id, ref.run) for ref in refs]
    assert [claim.verdict for claim in claims] == [Verdict.MOVED, Verdict.UNRECOGNIZED, Verdict.UNRECOGNIZED]


def test_a_renewal_with_an_unknown_verdict_lets_the_run_go_on():
    assert store([b"m", b"", -1, -1, 1, b"LATER"]).renew([REF]) == {}
    assert store([b"m", b"", -1, -1, -1, b"hop"]).renew([REF]) == {}


def test_an_unknown_word_is_reported_once(caplog):
    replies.verdict.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            store(b"ONCE").park("a", "f", b"")
    assert len([r for r in caplog.records if "ONCE" in r.getMessage()]) == 1
