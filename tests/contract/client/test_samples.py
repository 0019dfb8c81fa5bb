"""The last hour and the last day, for a client."""

import pytest

from pytask import errors
from pytask.domain.samples import DAY, HOUR, Crew


@pytest.mark.wire
def test_the_samples_of_a_ring(both):
    assert both.client.samples() == ()
    assert both.bench.store.sample(HOUR, Crew(workers=2, slots=20))
    assert both.bench.store.sample(DAY, Crew(workers=3))
    both.bench.set_sample("hour", 400, "5 1 1 1 1 1 1 0.5 1 1 1 1 1 1")  # long ago
    (one,) = both.client.samples()
    assert (one.workers, one.slots) == (2, 20)
    (one,) = both.client.samples("day")
    assert one.workers == 3
    assert abs(one.at - both.bench.now() / 1e6) < 60


def test_no_ring(real):
    with pytest.raises(errors.BadData, match=r"no such ring: 'week'; there are hour, day"):
        real.client.samples("week")
