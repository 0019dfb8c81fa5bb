"""Gates: who waits, what the task is told, and what Redis learns."""

import gevent
import pytest

from pytask import Task, run_loop
from pytask.domain.control import StopReason
from pytask.domain.lifecycle import Trigger
from pytask.domain.messages import Command
from pytask.domain.record import Confirmation, Incarnation, Verdict
from tests.unit.runtime.fakes import World, switch, until


class Looping(Task):
    class Config:
        NAME = "demo"

    rounds = 0
    told = ()

    def start(self):
        run_loop(self.one, 0.001)

    def one(self):
        self.rounds += 1

    def on_pause(self):
        self.told = (*self.told, "pause")

    def on_resume(self):
        self.told = (*self.told, "resume")


class Bare(Task):
    class Config:
        NAME = "demo"

    def start(self):
        gevent.sleep(1000)


def told(world):
    return [(one.id, one.word) for (batch,) in world.store.asked("confirm") for one in batch]


def begun(world, run):
    until(lambda: run.task is not None and run.task.rounds)
    return run.task


worlds = []


def started(kind):
    """A world whose runs end with the test."""
    worlds.append(World(kind))
    return worlds[-1]


@pytest.fixture(autouse=True)
def nothing_goes_on():
    yield
    while worlds:
        one = worlds.pop()
        one.executor.hand_back_all()
        until(lambda one=one: not one.executor.living)


@pytest.fixture
def world():
    return started(Looping)


def test_a_pause_holds_the_rounds_until_the_resume(world):
    run = world.launch()
    task = begun(world, run)
    world.executor.pauses.ask("a", Command.PAUSE)
    until(lambda: told(world))
    count = task.rounds
    gevent.sleep(0.02)
    assert task.rounds == count
    assert told(world) == [("a", Command.PAUSE)]
    assert run.paused
    world.executor.pauses.ask("a", Command.START)
    until(lambda: task.rounds > count)
    until(lambda: told(world) == [("a", Command.PAUSE), ("a", Command.START)])
    until(lambda: task.told == ("pause", "resume"))


def test_what_it_emitted_before_its_gate_comes_before_the_word(world):
    run = world.launch()
    begun(world, run).emit("round")
    world.executor.pauses.ask("a", Command.PAUSE)
    until(lambda: not world.executor.pauses.whereabouts)
    switch()
    assert told(world) == []
    world.commit()
    until(lambda: told(world) == [("a", Command.PAUSE)])


def test_a_request_that_a_renewal_repeats_is_told_again(world):
    run = world.launch()
    begun(world, run)
    world.executor.renewed(run.ref, Command.PAUSE)
    until(lambda: len(told(world)) == 1)
    world.executor.renewed(run.ref, Command.PAUSE)
    until(lambda: len(told(world)) == 2)
    assert run.task.told == ("pause",)


def test_an_answer_that_it_was_resumed_meanwhile_is_followed(world):
    run = world.launch()
    task = begun(world, run)
    world.store.say("confirm", [Command.START], [Command.START])
    world.executor.pauses.ask("a", Command.PAUSE)
    until(lambda: ("a", Command.START) in told(world))
    count = task.rounds
    until(lambda: task.rounds > count)
    assert not run.paused


def test_a_pause_that_a_failover_has_lost_is_over(world):
    """Nobody else would tell the run that waits: its hash does not say that it is paused."""
    run, heartbeat = world.launch(), world.heartbeat()
    task = begun(world, run)
    world.store.incarnation = Incarnation(id="i", server="one")
    world.clock.move(world.timing.heartbeat)
    heartbeat.beat()
    world.executor.pauses.ask("a", Command.PAUSE)
    until(lambda: told(world) == [("a", Command.PAUSE)])
    world.store.say("confirm", [Command.START], [Command.START])
    world.store.incarnation = Incarnation(id="i", server="two", age=0.0, changed=0.0)
    world.clock.move(world.timing.heartbeat)
    heartbeat.beat()
    count = task.rounds
    until(lambda: task.rounds > count)
    assert not run.paused


def test_a_run_that_was_fenced_meanwhile_is_left_alone(world):
    run = world.launch()
    begun(world, run)
    world.store.say("confirm", [Verdict.FENCED])
    world.executor.pauses.ask("a", Command.PAUSE)
    until(lambda: told(world))
    assert world.store.asked("confirm") == [([Confirmation("a", run.ref.run, Command.PAUSE)],)]


def test_where_a_run_is_that_has_no_gate():
    world = started(Bare)
    run = world.launch()
    until(lambda: run.task is not None)
    gevent.sleep(0)
    world.executor.pauses.ask("a", Command.PAUSE)
    (place,) = world.executor.pauses.whereabouts.values()
    assert "in start at" in place
    assert __file__ in place
    world.executor.stop_reason(run, StopReason.STOP)
    until(lambda: not world.executor.living)
    assert world.executor.pauses.whereabouts == {}


def test_a_paused_run_is_not_moved_but_handed_back(world):
    run = world.launch()
    begun(world, run)
    world.executor.pauses.ask("a", Command.PAUSE)
    assert world.executor.move(5, {"demo"}) == []
    until(lambda: told(world))
    world.executor.hand_back_all()
    until(world.ends)
    assert world.ends() == [(run.ref.run, Trigger.RELEASE)]


def test_a_stop_calls_stop_and_no_further_round_begins():
    class Polite(Looping):
        over = False

        def start(self):
            while not self.over:
                self.gate()
                self.one()
                gevent.sleep(0.001)

        def stop(self):
            self.over = True

    world = started(Polite)
    run = world.launch()
    task = begun(world, run)
    world.executor.pauses.ask("a", Command.PAUSE)
    until(lambda: told(world))
    count = task.rounds
    world.executor.stop_reason(run, StopReason.STOP)
    until(lambda: not world.executor.living)
    assert task.over
    assert task.rounds == count


def test_a_task_without_a_run_passes_its_gates():
    Bare(None).gate()
