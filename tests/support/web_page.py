"""`pytask web` as a process, and requests to it without a browser."""

import subprocess
import sys
import urllib.error
import urllib.request

from tests.support.cli_tools import environment


class Served:
    """`pytask web` on a free port."""

    def __init__(self, url, folder, *words):
        command = [sys.executable, "-m", "pytask", "web", "--redis", url, "--port", "0", *words]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, cwd=folder, env=environment()
        )
        self.address = self.process.stdout.readline().strip().removeprefix("pytask web: ").rstrip("/")

    def get(self, path, **headers):
        """The status and the text of a page."""
        asked = urllib.request.Request(self.address + path, headers=headers)
        try:
            with urllib.request.urlopen(asked, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def close(self):
        """End it; returns its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(30)
        self.process.stdout.close()
        return code
