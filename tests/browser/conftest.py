"""One browser, one server, one worker and one page for all tests of this folder."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

import pytask
from tests.support.cli_tools import environment
from tests.support.servers import start_server
from tests.support.web_page import Served

PROGRAM = Path(__file__).with_name("program.py")
NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 60.0


def until(holds, what, seconds=PATIENCE):
    """The first true value."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:g} s: {what}")
        time.sleep(0.05)
    return found


@pytest.fixture(scope="session")
def browser():
    """Debian's Chromium, driven by playwright."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("no chromium on PATH: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    with sync_api.sync_playwright() as driver:
        made = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield made
        made.close()


@pytest.fixture(scope="session")
def fleet(browser, tmp_path_factory):
    """A server with one worker."""
    folder = tmp_path_factory.mktemp("fleet")
    with start_server("valkey") as server:
        command = [sys.executable, "-m", "pytask", "run", str(PROGRAM), "--redis", server.url]
        command += ["--name", "yew", "--task-logs", "500"]
        with (folder / "log").open("wb") as log:
            worker = subprocess.Popen(command, stdout=log, stderr=log, env=environment())
        try:
            with pytask.Client(server.url, timeout=PATIENCE, connect_timeout=PATIENCE) as client:
                until(client.workers, f"a worker shows itself: {folder / 'log'}")
                yield server, client
        finally:
            worker.terminate()
            worker.wait(PATIENCE)


@pytest.fixture(scope="session")
def site(fleet, tmp_path_factory):
    """`pytask web` without a login."""
    made = Served(fleet[0].url, tmp_path_factory.mktemp("page"))
    yield made
    made.close()


@pytest.fixture
def client(fleet):
    """A client of an empty deployment."""
    server, client = fleet
    yield client
    ids = [task.id for task in client.list(limit=5000) if not task.local]
    client.stop_many(ids)
    until(lambda: not [t for t in client.list(state=["RUNNING", "WAIT"]) if not t.local], "all have stopped")
    client.remove_many([task.id for task in client.list(limit=5000) if not task.local])
    with redis.Redis.from_url(server.url) as raw:
        raw.delete("pytask:rejected")


@pytest.fixture
def raw(fleet):
    """Redis itself."""
    with redis.Redis.from_url(fleet[0].url) as made:
        yield made


class Tab:
    """A page of the browser; what it complains of, and where it goes, is remembered."""

    def __init__(self, context, address):
        self.page, self.address, self.said, self.asked = context.new_page(), address, [], []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", self._dialog)
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.set_default_timeout(PATIENCE * 1000)

    def _dialog(self, dialog):
        self.said.append(f"dialog {dialog.message}")
        dialog.dismiss()

    def goto(self, path):
        self.page.goto(self.address + path)
        return self.page

    def check(self):
        """No error, nothing refused by the policy, no other host."""
        assert [text for text in self.said if "status of" not in text] == []
        assert [url for url in self.asked if not url.startswith((self.address, "data:", "about:"))] == []


@pytest.fixture
def open_tab(browser, site, client):
    """`open_tab(path, **options of the context)`; all are checked at the end."""
    tabs = []

    def make(path="/", address=None, **options):
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 800}, **options})
        tabs.append((context, Tab(context, address or site.address)))
        tabs[-1][1].goto(path)
        return tabs[-1][1]

    yield make
    for context, tab in tabs:
        tab.check()
        context.close()


@pytest.fixture
def pictures():
    """The folder for pictures of the documentation, if they are to be taken: $PYTASK_PICTURES."""
    folder = os.environ.get("PYTASK_PICTURES")
    return None if folder is None else Path(folder)
