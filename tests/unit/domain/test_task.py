"""Task classes, and what is wrong with those that cannot be used."""

import math

import pytest

from pytask.domain.errors import BadTaskClass, NotRun, TaskFailed
from pytask.domain.task import Task
from pytask.domain.task_class import register, takes_reason, task_name
from pytask.domain.task_config import data_class, redis_wait


class Good(Task):
    class Config:
        NAME = "good"

    def start(self):
        return self.task_data


class Same(Good):
    class Config:
        NAME = "good"


class Nameless(Task):
    pass


class OddName(Task):
    class Config:
        NAME = 5


class Impatient(Good):
    class Config(Good.Config):
        REDIS_WAIT = -1


class EmptyName(Task):
    class Config:
        NAME = ""


class Heir(Good):
    class Config(Good.Config):
        DATA = dict


class Stranger:
    class Config:
        NAME = "stranger"


def test_the_name_on_the_wire():
    assert task_name(Good) == "good"


@pytest.mark.parametrize(
    ("thing", "fix"),
    [
        (Good(), r"instance of Good: .*add_task\(Good\)"),
        ("good", "instance of str"),
        (data_class, r"the function data_class\(\): a task is a class"),
        (None, "instance of NoneType"),
        (Stranger, r"derive it from pytask\.Task"),
        (Nameless, "NAME = 'a-name'"),
        (OddName, "NAME = 'a-name'"),
        (EmptyName, "NAME = 'a-name'"),
        (Task, "NAME = 'a-name'"),
    ],
)
def test_what_is_no_task_class_is_refused_with_the_fix(thing, fix):
    with pytest.raises(BadTaskClass, match=fix) as caught:
        task_name(thing)
    assert str(caught.value).startswith("[PT021]")


def test_the_data_class():
    assert data_class(Good) is None
    assert data_class(Heir) is dict


def test_classes_are_added_to_a_copy():
    known = {}
    found = register(known, Good)
    assert found == {"good": Good}
    assert known == {}
    assert register(found, Good) == found  # twice the same is no second


def test_two_classes_of_one_name_are_refused():
    with pytest.raises(BadTaskClass, match=r"'good': .*Good and .*Same; rename one"):
        register({}, Good, Same)
    with pytest.raises(BadTaskClass, match="two tasks"):
        register({"good": Good}, Same)
    with pytest.raises(BadTaskClass, match="no name"):
        register({}, Good, Nameless)


def test_a_task_without_start_says_so():
    with pytest.raises(NotImplementedError, match=r"Nameless has no start\(\)"):
        Nameless().start()
    assert Nameless().stop() is None


def test_a_task_reaches_its_run():
    class Run:
        id, epoch = "a", 7

        def __init__(self):
            self.calls = []

        def emit(self, event, data):
            self.calls.append((event, data))

        def spawn(self, fn, *args, **kwargs):
            return fn(*args, **kwargs)

        def client(self):
            return "client"

    task = Good()
    task._run = run = Run()
    assert (task.id, task.epoch, task.redis) == ("a", 7, "client")
    task.emit("progress", 5)
    task.emit("done")
    assert run.calls == [("progress", 5), ("done", None)]
    assert task.spawn(divmod, 7, 2) == (3, 1)


def test_a_task_may_fail_with_a_text_of_its_own():
    with pytest.raises(TaskFailed) as caught:
        raise Good.Error("no such file")
    assert str(caught.value) == "no such file"


def variant(**methods):
    return type("Odd", (Good,), methods)


async def agenerator(self):
    yield


def generator(self):
    yield


def with_data(self, data):
    """The data is no argument."""


def with_two(self, a, b):
    """A reason, and something else."""


def with_keyword(self, *, reason):
    """The reason is no keyword."""


def no_data(self):
    """An `__init__` that takes none."""


@pytest.mark.parametrize(
    ("cls", "fix"),
    [
        (type("Empty", (Task,), {"Config": Good.Config}), r"Empty has no start\(\)"),
        (variant(start=agenerator), r"Odd.start\(\) has a `yield`"),
        (variant(start=generator), r"Odd.start\(\) has a `yield`"),
        (variant(stop=with_two), r"Odd.stop\(\) cannot be called .*'a'.*`def stop\(self, reason\):`"),
        (
            variant(stop=with_keyword),
            r"Odd.stop\(\) cannot be called .*'reason'.*`def stop\(self, reason\):`",
        ),
        (variant(start=with_data), r"Odd.start\(\) cannot be called .*'data'.*self.task_data"),
        (Impatient, r"Config.REDIS_WAIT of Impatient must be True, False or seconds, not -1"),
        (variant(__init__=no_data), r"Odd.__init__\(\) .*def __init__\(self, task_data\)"),
    ],
)
def test_a_class_whose_every_run_would_fail_is_refused_with_the_fix(cls, fix):
    with pytest.raises(BadTaskClass, match=fix):
        register({}, cls)


def test_how_long_a_task_waits_for_redis():
    class Config(Good.Config):
        REDIS_WAIT = 2.5

    assert redis_wait(Good) == math.inf
    assert redis_wait(variant(Config=Config)) == 2.5
    Config.REDIS_WAIT = False
    assert redis_wait(variant(Config=Config)) == 0


def test_what_can_be_called_is_taken():
    methods = [staticmethod(lambda: 1), classmethod(lambda _cls: 1), lambda _self, _more=None: 1, print]
    for method in methods:
        assert register({}, variant(start=method))


@pytest.mark.parametrize(
    ("stop", "told"),
    [
        (lambda _self, reason: reason, True),
        (lambda _self, why: why, True),
        (lambda _self, reason="stop": reason, True),
        (lambda _self, *all_of_them: all_of_them, True),
        (lambda _self: None, False),
        (lambda _self, timeout=5.0: timeout, False),
        (staticmethod(lambda: None), False),
        (print, False),
    ],
)
def test_which_stop_is_told_the_reason(stop, told):
    cls = variant(stop=stop)
    register({}, cls)
    assert takes_reason(cls) is told


def test_a_task_is_built_with_its_data():
    assert Good({"n": 1}).start() == {"n": 1}
    assert Good().task_data is None


def test_a_task_that_no_worker_runs_says_so():
    task = Good({"n": 1})
    for use in (lambda: task.id, lambda: task.redis, lambda: task.emit("e"), lambda: task.progress(1),
        lambda: task.save(1), lambda: task.saved,
    ):  # fmt: skip
        with pytest.raises(NotRun, match=r"^\[PT044\] this task has no run, so it has no "):
            use()


def test_saved_is_not_set_but_saved():
    with pytest.raises(AttributeError, match=r"use self.save\(value\)"):
        Good().saved = 5
