"""Who tells of an outage."""

from pytask.domain.errors import Refused, Unavailable
from pytask.domain.timing import Timing
from pytask.runtime.log_throttle import LogThrottle
from tests.unit.runtime.fakes import World


def test_one_line_an_interval_and_the_heartbeat_goes_first():
    throttle = LogThrottle(5.0)
    assert throttle.may(100.0)
    assert not throttle.may(104.9, first=True)
    assert throttle.may(105.0, first=True)
    assert not throttle.may(114.9)
    assert throttle.may(115.0)


def failing(world, service, attempts, caplog, error):
    """The lines of a service with repeated errors, a second apart."""
    caplog.clear()
    for _ in range(attempts):
        world.clock.move(1.0)
        service._log_failure(error)
    return [record.message for record in caplog.records]


def test_all_services_together_tell_of_an_outage_once_every_h(caplog):
    world = World(timing=Timing())
    heartbeat, consumer = world.heartbeat(), world.consumer()
    services = [consumer, world.committer, heartbeat]
    for _ in range(60):
        world.clock.move(1.0)
        for service in services:
            service._log_failure(Unavailable("away"))
    lines = [record.message for record in caplog.records]
    assert len(lines) == 12
    assert lines[0] == "cannot claim tasks: [PT051] away"  # it met it first
    assert all("does not acknowledge" in line for line in lines[1:])  # they count down


def test_who_alone_gets_no_answer_says_so_and_a_refusal_too(caplog):
    for alone in (World.consumer, lambda world: world.committer):
        world = World(timing=Timing())
        service = alone(world)
        assert len(failing(world, service, 21, caplog, Unavailable("away"))) == 3
        assert len(failing(world, service, 21, caplog, Refused("OOM", "OOM"))) == 5
