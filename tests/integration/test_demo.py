"""`pytask demo`, the first thing that anybody runs."""

import os
import re
import signal
import subprocess
import urllib.request

import psutil
import pytest

from tests.support.cli_tools import PATIENCE, Started, done, pytask, until

SECONDS = 60  # three times what the story takes on a calm machine, and more


def family(process):
    """All processes below one, also those in sessions of their own."""
    return psutil.Process(process.pid).children(recursive=True)


def check_nothing_left(processes, folder):
    until(lambda: not any(one.is_running() for one in processes), lambda: f"gone: {processes}")
    assert list(folder.glob("pytask-demo-*")) == []


@pytest.mark.slow
@pytest.mark.parametrize("words", [["--for", SECONDS], []], ids=["for a time", "until Ctrl-C"])
def test_all_that_it_shows_goes_right(tmp_path, words):
    with Started(pytask("demo", *words), tmp_path, tmp_path, TMPDIR=str(tmp_path)) as demo:
        demo.says("To take part", SECONDS)
        processes = family(demo.process)
        if words:
            demo.says("It ends in ", SECONDS + 1)
        else:  # it says so itself, once all is shown
            demo.says("Press Ctrl-C to end it", 2 * SECONDS)
            assert "demo: " not in demo.output
            demo.process.send_signal(signal.SIGINT)
        demo.says("demo: all", SECONDS + 1)
        assert demo.process.wait(PATIENCE) == 0, demo.output
        assert demo.output.splitlines()[-1] == "demo: all 7 checks passed"
        assert re.search(r"counter-\d continues on worker-\w, from \d+ to \d+\.", demo.output)
        assert len(processes) == 3
        check_nothing_left(processes, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_everything_it_started(tmp_path, number):
    with Started(pytask("demo"), tmp_path, tmp_path, TMPDIR=str(tmp_path)) as demo:
        demo.says("kill -9", SECONDS)
        processes = family(demo.process)
        assert demo.end(number) == 130, demo.output
        assert "checks did not run, because the demo was interrupted" in demo.output.splitlines()[-1]
        assert "Traceback" not in demo.output
        check_nothing_left(processes, tmp_path)


def test_the_page_of_the_demo(tmp_path):
    with Started(pytask("demo", "--web"), tmp_path, tmp_path, TMPDIR=str(tmp_path)) as demo:
        demo.says("See it at http", SECONDS)
        first = next(line for line in demo.output.splitlines() if line.strip())
        address = re.search(r"http://127\.0\.0\.1:\d+/", first)[0]
        with urllib.request.urlopen(f"{address}tasks", timeout=SECONDS) as answer:
            assert b"<h1>Tasks</h1>" in answer.read()
        processes = family(demo.process)
        assert demo.end(signal.SIGINT) == 130, demo.output
        check_nothing_left(processes, tmp_path)


def test_who_has_no_redis_cli_takes_part_with_the_lines_for_them(tmp_path):
    with Started(pytask("demo"), tmp_path, tmp_path, TMPDIR=str(tmp_path)) as demo:
        demo.says(" stop mine --wait 10", SECONDS)
        lines = demo.output.partition("Or, without redis-cli:\n")[2].splitlines()[:4]
        typed = subprocess.run(
            ["sh", "-ec", "\n".join(lines)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=True,
        ).stdout
        assert typed.startswith("mine\n")
        assert re.search(r"mine +done +STOPPED", typed)
        assert demo.end(signal.SIGINT) == 130, demo.output


def test_too_little_time_is_said(tmp_path):
    shown = done(pytask("demo", "--for", 1), tmp_path, TMPDIR=str(tmp_path))
    assert shown.returncode == 1
    assert shown.stdout.splitlines()[-1].startswith("demo: 7 of 7 checks did not run, because they need")


def test_a_folder_of_ones_own_is_kept(tmp_path):
    folder = tmp_path / "kept"
    done(pytask("demo", "--for", 1, "--data-dir", folder), os.fspath(tmp_path))
    assert (folder / "server.log").exists()
