"""What `pytask run` lets gevent replace, and what was imported too early for that."""

import sys

import pytest

from tests.support.cli_tools import ROOT, done, pytask, write

# As pyTelegramBotAPI does with its events.
TARGET = """
    from gevent import monkey
    monkey.patch_all(sys=True)  # of a program that can also be run by itself: adds sys, and that alone
    import queue, threading
    from pytask import Task

    print(queue.Queue.__module__, queue.SimpleQueue.__module__)
    event = threading.Event()
    event.changed = print
    event.set = lambda: None

    class Thumb(Task):
        class Config:
            NAME = "thumb"
        def start(self):
            return "done"
"""


@pytest.fixture
def target(tmp_path):
    return write(tmp_path / "bot.py", TARGET)


def check(target, *flags, **env):
    return done(pytask("run", target.name, "--check", *flags), target.parent, **env)


def test_an_event_takes_attributes_and_a_setting_chooses_the_queues(target):
    shown = check(target)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("pytask.runtime.process.patched_locks gevent.")
    write(target.parent / "pytask.toml", '[run]\npatch = "queue=off"\n')
    shown = check(target)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("queue gevent.")


def test_an_agent_that_imports_before_the_patch_is_named(target):
    agent = target.parent / "agent"
    agent.mkdir()
    write(agent / "sitecustomize.py", "import sender\n")
    write(agent / "sender.py", "from ssl import SSLContext\n")
    shown = check(target, PYTHONPATH=f"{ROOT}:{agent}")
    assert shown.returncode == 78
    assert "[PT012] sender imported ssl" in shown.stderr
    assert str(agent / "sitecustomize.py") in shown.stderr
    # The fix: the first line of the target.
    write(agent / "agent.py", "import sender\n")
    (agent / "sitecustomize.py").unlink()
    target.write_text(f"import agent\n{target.read_text()}")
    assert check(target, PYTHONPATH=f"{ROOT}:{agent}").returncode == 0


def test_what_the_command_itself_imports_first_holds_nothing(tmp_path):
    program = """
        import pytask.__main__, pytask.cli.main, pytask.cli.commands.run as run
        run._patch("")
        from pytask.runtime.process import patched
        print(list(patched.holders()))
    """
    shown = done([sys.executable, write(tmp_path / "command.py", program)])
    assert (shown.stdout, shown.stderr) == ("[]\n", "")


HEARER = """
    from importlib.metadata import entry_points
    heard = []
    hear = lambda event: heard.append(event.module_name)
"""


def install(folder, name, entry_points):
    info = folder / f"{name}-1.dist-info"
    info.mkdir(parents=True)
    write(info / "METADATA", f"Name: {name}\nVersion: 1\n")
    write(info / "entry_points.txt", entry_points)


def test_what_is_installed_is_read_once_for_all_listeners_of_the_patch(tmp_path):
    install(tmp_path, "hearer", "[gevent.plugins.monkey.did_patch_module]\nhearer = hearer:hear\n")
    install(tmp_path / "later", "later", "[late]\nlater = later:hear\n")
    write(tmp_path / "hearer.py", HEARER)
    program = """
        from importlib import metadata
        reads, find = [], metadata.MetadataPathFinder.find_distributions
        def counted(*args, **named):
            reads.append(args)
            return find(*args, **named)
        metadata.MetadataPathFinder.find_distributions = counted
        from pytask.runtime.process import patched
        patched.patch({})
        import hearer
        print(len(reads), {"socket", "ssl", "time"} <= set(hearer.heard))
        assert list(metadata.entry_points(group="gevent.plugins.monkey.did_patch_module")) and len(reads) > 1
        # Who has kept the function reads anew, too.
        import sys
        sys.path.append("later")
        assert list(hearer.entry_points(group="late"))
        print("read anew")
    """
    shown = done([sys.executable, write(tmp_path / "reads.py", program)], tmp_path)
    assert shown.stdout == "1 True\nread anew\n", shown.stderr


def test_a_plugin_of_gevent_that_imports_before_the_patch_is_named(target):
    install(target.parent, "sender", "[gevent.plugins.monkey.will_patch_all]\nsender = sender:hear\n")
    write(target.parent / "sender.py", "from ssl import SSLContext\nhear = lambda event: None\n")
    shown = check(target, PYTHONPATH=f"{ROOT}:{target.parent}")
    assert shown.returncode == 78
    assert "[PT012] sender imported ssl" in shown.stderr
    assert "startup: the gevent plugin sender:hear." in shown.stderr


def test_modules_imported_before_a_late_patch_are_named(tmp_path):
    write(tmp_path / "sender.py", "import time\nfrom ssl import SSLContext\nfrom time import sleep\n")
    program = """
        import sender
        from gevent import monkey; monkey.patch_all()
        import logging; logging.basicConfig()
        from pytask import PyTask
        with PyTask("redis://127.0.0.1:1"):
            pass
    """
    late = write(tmp_path / "late.py", program)
    shown = done([sys.executable, late], tmp_path)
    assert "[PT013] imported before gevent patched this process: sender (" in shown.stderr, shown.stderr
    assert "time.sleep" in shown.stderr
    assert "ssl.SSLContext" in shown.stderr
