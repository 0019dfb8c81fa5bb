"""The two loops of those who wait for a lost Redis."""

import pytest

from pytask.domain.errors import Refused, Unavailable
from pytask.runtime.until_answered import pass_by_pass, until_answered


@pytest.fixture
def naps(monkeypatch):
    found = []
    monkeypatch.setattr("gevent.sleep", found.append)
    return found


def answers(*lined_up):
    left = list(lined_up)

    def call():
        answer = left.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    return call


AWAY, FULL = Unavailable("away"), Refused("OOM", "OOM")


def test_it_is_called_again_until_it_answers(naps):
    reported = []
    assert until_answered(answers(AWAY, FULL, "there"), reported.append, 0.5) == "there"
    assert reported == [AWAY, FULL]
    assert naps == [0.5, 0.5]


def test_an_answer_costs_no_look_and_no_pause(naps):
    assert until_answered(answers("there"), lambda _: pytest.fail("asked"), 0.5) == "there"
    assert naps == []


def test_who_gives_up_gets_none_at_once_or_what_it_raises(naps):
    assert until_answered(answers(AWAY, FULL), lambda error: error is FULL, 0.5) is None
    assert naps == [0.5]

    def refuse(error):
        raise error

    with pytest.raises(Refused):
        until_answered(answers(FULL), refuse, 0.5)
    assert naps == [0.5]


def test_what_has_another_cause_is_raised(naps):
    with pytest.raises(ZeroDivisionError):
        until_answered(answers(ZeroDivisionError()), lambda _: pytest.fail("asked"), 0.5)


def test_passes_follow_each_other_until_the_end_and_failed_ones_after_a_pause(naps):
    seen = []
    one_pass = answers(1, AWAY, ZeroDivisionError(), 2)
    pass_by_pass(
        lambda: seen.append(one_pass()),
        lambda error: {Unavailable: 0.5, ZeroDivisionError: 3.0}[type(error)],
        lambda: seen[-1:] == [2],
    )
    assert seen == [1, 2]
    assert naps == [0.5, 3.0]


def test_what_a_service_cannot_live_with_ends_it(naps):
    def failed(error):
        raise error

    with pytest.raises(ZeroDivisionError):
        pass_by_pass(answers(ZeroDivisionError()), failed, lambda: False)
