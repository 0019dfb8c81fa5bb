"""Random reloads: a short form of `python -m tests.chaos.reloads`."""

from tests.chaos.reloads import BAD, GOOD, conduct


def test_random_reloads_never_end_a_task_and_its_version_is_the_outcome(tmp_path):
    found, violations = conduct(tmp_path, reloads=120, seed=16)
    assert violations == []
    assert found.total() == 120
    assert {what.partition(":")[0] for what in found} == set(GOOD) | set(BAD)
    assert {"taken in place", "started again", "refused", "rolled back"} == {
        what.partition(": ")[2] for what in found
    }
