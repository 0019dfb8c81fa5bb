"""Why a task of a paused function waits, and what resumes it."""

from pytask.domain import pause_reasons


def test_the_advice_names_what_is_paused_the_function_or_all_of_them():
    """To resume one function does nothing while all are paused."""
    assert pause_reasons.of_a_function("f").startswith("the function f is paused")
    assert pause_reasons.resume("f").words == ("pytask", "start", "--paused", "--name", "f")
    assert pause_reasons.of_a_function("f", every=True).startswith("all functions are paused")
    assert pause_reasons.resume("f", every=True).words == ("pytask", "start", "--paused", "--all")
