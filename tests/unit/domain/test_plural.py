"""Numbers with their nouns."""

from pytask.domain.wording import counted, verb


def test_one_and_many():
    assert [counted(n, "task") for n in (0, 1, 2)] == ["0 tasks", "1 task", "2 tasks"]
    assert [counted(n, "process", "processes") for n in (1, 2)] == ["1 process", "2 processes"]
    assert [verb(n, "waits", "wait") for n in (0, 1, 2)] == ["wait", "waits", "wait"]
