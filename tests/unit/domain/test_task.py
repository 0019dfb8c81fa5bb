"""Task classes, and what is wrong with those that cannot be used."""

import pytest

from pytask.domain.errors import BadTaskClass, TaskFailed
from pytask.domain.task import Task, data_class, register, task_name


class Good(Task):
    class Config:
        NAME = "good"


class Same(Task):
    class Config:
        NAME = "good"


class Nameless(Task):
    pass


class OddName(Task):
    class Config:
        NAME = 5


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
