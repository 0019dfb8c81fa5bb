"""Pages whose commands a test types: their blocks, the commands with what they print, and a shell."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

from tests.support.cli_tools import environment, write


def blocks(page):
    """(language, name, text) of the blocks of a page, in order."""
    return re.findall(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def commands(block):
    """(command, the lines it is to print) of a console block."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        yield command, shown.rstrip("\n")


def fits(shown, said):
    """Whether the output is what is shown, line by line, where … stands for something within a line."""
    shown, said = (re.sub(r" +", " ", text).strip() for text in (shown, said))  # columns vary in width
    return re.fullmatch(re.escape(shown).replace("…", r"[^\n]+?"), said) is not None


class Shell:
    """A person's second terminal: `pytask` is on the path, and variables last."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "bin").mkdir()
        program = write(folder / "bin" / "pytask", f'#!/bin/sh\nexec {sys.executable} -m pytask "$@"\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        self.env = environment(PATH=f"{Path(program).parent}:{os.environ['PATH']}", PYTASK_TIMEOUT="5")
        self.env["XDG_RUNTIME_DIR"] = str(folder)

    def __call__(self, command):
        """The exit code, and what is printed."""
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr
