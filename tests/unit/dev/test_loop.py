"""What the loop of `pytask dev` says of saves and of the code."""

from pytask.dev.loop import named, what_happened


def test_saved_and_deleted_files_are_told_apart(tmp_path):
    for name in ("a.py", "c.py"):
        (tmp_path / name).touch()
    files = [tmp_path / name for name in ("a.py", "b.py", "c.py")]
    assert what_happened(files[:1]) == "a.py saved"
    assert what_happened(files[1:2]) == "b.py deleted"
    assert what_happened(files) == "a.py, c.py saved, b.py deleted"
    many = [tmp_path / f"gone{number}.py" for number in range(7)]
    assert what_happened(many) == "gone0.py, gone1.py, gone2.py, gone3.py, gone4.py and 2 more deleted"


def test_the_tasks_of_the_code_are_named_without_its_monitor():
    assert named({"tock", "pytask/monitor", "tick"}) == "tick, tock"
    assert named({"pytask/monitor"}) == "it has no task class"
