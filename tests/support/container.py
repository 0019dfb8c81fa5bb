"""A PID namespace, as a container has one: the command that is started in it is PID 1 there."""

import shutil
import subprocess
from functools import cache
from pathlib import Path

WORDS = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
AS_USER = ("--user", "--map-root-user")


@cache
def container():
    """(words that go before the command, "") or, where no namespace may be made, ((), the reason)."""
    refused = "there is no unshare"
    for words in (WORDS, (*WORDS, *AS_USER)):
        if shutil.which(words[0]):
            tried = subprocess.run([*words, "true"], capture_output=True, text=True, check=False)
            if tried.returncode == 0:
                return words, ""
            refused = tried.stderr.strip()
    return (), f"no PID namespace may be made here: {refused}"


def children(pid):
    """The pids of its direct children, the eldest first."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
