"""Sessions, of which run ids are made."""

from itertools import count

import pytest

from pytask.adapters.memory.state import plausible
from pytask.domain.session_marks import session_mark
from pytask.domain.timing import Timing
from pytask.runtime.partition_worker import Session


@pytest.mark.parametrize(("failover", "mark"), [(60, ""), (20, "~e314")])
def test_each_session_of_a_worker_names_its_expiry(failover, mark):
    numbers = count(1)
    session = Session("host.", lambda: f"id{next(numbers)}", mark=session_mark(Timing.for_failover(failover)))
    assert (session.id, session.next_run()) == (f"host.id1{mark}", f"host.id1{mark}:1")
    session.renew()  # after a fork, or a loss of the lease
    assert session.next_run() == f"host.id2{mark}:1"
    assert plausible(session.next_run())
