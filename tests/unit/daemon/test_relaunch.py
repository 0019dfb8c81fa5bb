"""How a process was started, as it was given: what a new start goes by after a deploy switched a link."""

import sys
import time

import pytest

from pytask.daemon.relaunch import Check, Launch


def test_the_check_needs_no_folder_for_temporary_files(monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    check = Check([sys.executable, "-c", "raise SystemExit('said')"], "/")
    while (answer := check.result()) is None:
        time.sleep(0.01)
    assert answer == "the check ended with 1: said"


def called(monkeypatch, *words, given=("run", "tasks.py")):
    monkeypatch.setattr(sys, "argv", ["the script", *given])
    monkeypatch.setattr(sys, "orig_argv", [*words, *given])


def test_the_folder_is_that_of_the_shell_where_it_is_the_same_one(tmp_path, monkeypatch):
    (tmp_path / "release").mkdir()
    (tmp_path / "current").symlink_to("release")
    monkeypatch.chdir(tmp_path / "current")
    monkeypatch.setenv("PWD", str(tmp_path / "current"))
    assert Launch.recorded().folder == str(tmp_path / "current")
    monkeypatch.setenv("PWD", str(tmp_path))
    assert Launch.recorded().folder == str(tmp_path / "release")
    monkeypatch.delenv("PWD")
    assert Launch.recorded().folder == str(tmp_path / "release")


def test_options_of_the_interpreter_and_a_relative_path_to_it_are_kept(monkeypatch):
    called(monkeypatch, "venv/bin/python", "-X", "dev", "-m", "pytask")
    assert Launch.recorded().program == ("venv/bin/python", "-X", "dev", "-m", "pytask")
    called(monkeypatch, "python", "-m", "pytask")
    assert Launch.recorded().program == (sys.executable, "-m", "pytask")


@pytest.mark.parametrize("first", ["#!/srv/releases/1/venv/bin/python", "#!/bin/sh"])
def test_a_script_runs_by_its_own_first_line(tmp_path, monkeypatch, first):
    """The new release's script names the interpreter of the new release."""
    script = tmp_path / "pytask"
    script.write_text(f"{first}\nimport pytask\n")
    script.chmod(0o755)
    called(monkeypatch, "/srv/releases/1/venv/bin/python", str(script))
    assert Launch.recorded().program == (str(script),)


def test_a_script_that_was_given_to_another_interpreter_keeps_that(tmp_path, monkeypatch):
    script = tmp_path / "pytask"
    script.write_text("#!/moved/away/python\n")
    script.chmod(0o755)
    called(monkeypatch, "/usr/bin/python3", str(script))
    assert Launch.recorded().program == ("/usr/bin/python3", str(script))


def outcome(check):
    until = time.monotonic() + 30
    while (found := check.result()) is None:
        assert time.monotonic() < until
        time.sleep(0.01)
    return found


def test_a_check_ends_in_time_and_says_how_it_came_out(tmp_path):
    run = [sys.executable, "-c"]
    assert outcome(Check([*run, "pass"], str(tmp_path))) == ""
    failed = outcome(Check([*run, "raise SystemExit('no such setting')"], str(tmp_path)))
    assert failed == "the check ended with 1: no such setting"
    hangs = Check([*run, "import time; time.sleep(600)"], str(tmp_path), limit=0.05)
    assert outcome(hangs) == "the check took more than 0.05 s"
    assert hangs._process.returncode == -9
    assert "No such file" in outcome(Check(["./gone"], str(tmp_path)))
