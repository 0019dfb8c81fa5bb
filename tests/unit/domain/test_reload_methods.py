"""The methods of a task class for a reload: refused where a worker could not call them."""

import pytest

from pytask.domain.errors import BadTaskClass
from pytask.domain.task import Task
from pytask.domain.task_class import has_check, register


def made(**methods):
    return type(
        "Demo", (Task,), {"Config": type("Config", (), {"NAME": "demo"}), "start": lambda _: None} | methods
    )


async def waits(_data):
    pass


def yields(_data):
    yield


@pytest.mark.parametrize(
    ("methods", "says"),
    [
        ({"check": lambda _self, _data: None}, r"check\(\) is called .* so it has no `self`: write `@static"),
        ({"check": lambda _data: None}, "If it is a method of your own, give it another name"),
        ({"check": staticmethod(lambda: None)}, r"Demo\.check\(\) cannot be called .* with the data alone"),
        ({"check": classmethod(lambda _cls, _a, _b: None)}, r"Demo\.check\(\) cannot be called"),
        ({"check": staticmethod(waits)}, r"Demo\.check\(\) is `async def`"),
        ({"check": staticmethod(yields)}, r"Demo\.check\(\) has a `yield`"),
        ({"on_reload": lambda _self: None}, r"cannot be called .*`def on_reload\(self, data\)"),
    ],
)  # fmt: skip
def test_methods_that_a_worker_cannot_call_are_refused_with_the_fix(methods, says):
    with pytest.raises(BadTaskClass, match=says):
        register({}, made(**methods))


@pytest.mark.parametrize(
    "methods",
    [
        {},
        {"check": staticmethod(lambda _data: None)},
        {"check": classmethod(lambda _cls, _data, _more=1: None)},
        {"on_reload": lambda _self, _data: None},
    ],
)
def test_others_are_taken(methods):
    cls = made(**methods)
    register({}, cls)
    assert has_check(cls) is ("check" in methods)
    assert has_check(type("More", (cls,), {})) is ("check" in methods)


def test_a_task_without_a_check_passes_all_data():
    assert Task.check({"n": 1}) is None
