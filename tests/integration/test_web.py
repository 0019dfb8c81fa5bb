"""`pytask web` as people start it: addresses, logins, the page beside a real worker."""

import shlex
import socket
import subprocess
import sys

import pytest
import redis

from tests.integration.conftest import ROOT, Crew, wait_until
from tests.support.cli_tools import environment
from tests.support.servers import start_server
from tests.support.web_page import Served

pytestmark = pytest.mark.slow

LOGIN = "password of ann"


@pytest.fixture(scope="module")
def redis_url():
    with start_server("valkey") as server:
        yield server.url


@pytest.fixture
def web(redis_url, tmp_path):
    """`web(*words)` is the output of `pytask web` that ends by itself."""

    def call(*words, stdin=None, **more):
        command = [sys.executable, "-m", "pytask", "web", "--redis", redis_url, *words]
        return subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=60, cwd=tmp_path,
            env=environment(**more), check=False,
        )  # fmt: skip

    return call


@pytest.fixture
def served_at(tmp_path):
    made = []

    def start(url, *words):
        made.append(Served(url, tmp_path, *words))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture
def served(served_at, redis_url):
    return lambda *words: served_at(redis_url, *words)


def test_a_missing_package_is_named_with_the_extra(web, tmp_path):
    (tmp_path / "falcon.py").write_text("raise ImportError('no falcon', name='falcon')")
    answer = web(PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert answer.returncode == 78
    assert "[PT195]" in answer.stderr
    assert "pip install 'pytaskd[web]'" in answer.stderr


def test_other_machines_reach_it_with_a_login_only(web, served):
    answer = web("--host", "0.0.0.0")
    assert answer.returncode == 78
    assert "[PT196]" in answer.stderr
    assert "--auth FILE" in answer.stderr
    answer = web("--auth", "users", "--add-user", "ann", stdin=f"{LOGIN}\n")
    assert answer.returncode == 0, answer.stderr
    assert LOGIN not in answer.stdout + answer.stderr
    page = served("--host", "127.0.0.1", "--auth", "users")
    assert "Log in" in page.get("/tasks")[1]


def test_a_broken_file_of_users_and_its_fix(web, tmp_path):
    (tmp_path / "users").write_text("ann:secret\n")
    answer = web("--auth", "users")
    assert answer.returncode == 78
    assert "[PT197] line 1 of users is not name:rights:secret: make it with --add-user" in answer.stderr
    (tmp_path / "users").write_text("")
    assert web("--auth", "users", "--add-user", "ann", stdin=f"{LOGIN}\n").returncode == 0
    assert web("--auth", "users", "--add-user", "ann", stdin="short\n").returncode == 78


def test_options_that_do_not_fit(web):
    assert web("--add-user", "ann").returncode == 2
    assert web("--proxy", "10.0.0.1").returncode == 2
    assert web("--auth", "users", "--auth-header", "X-User").returncode == 2
    assert web("--auth-header", "X-User", "--rights", "fly").returncode == 78


def test_who_may_only_read_redis_sees_every_page(served_at, redis_url):
    printed = subprocess.run(
        [sys.executable, "-m", "pytask", "acl", "watcher"], capture_output=True, text=True, check=True,
        env=environment(),
    ).stdout  # fmt: skip
    with redis.Redis.from_url(redis_url) as client:
        words = shlex.split(printed.replace("PASSWORD", "open"))
        client.execute_command(*words[words.index("ACL") :])
        client.hset("a", mapping={"function": "f", "data": "{}"})
        client.lpush("new-task", "a")
    page = served_at(redis_url.replace("redis://", "redis://pytask-watcher:open@"), "--read-only")
    for path in ("/", "/tasks", "/task?id=a", "/workers", "/functions", "/schedules", "/limits", "/rejected"):
        status, text = page.get(path)
        assert status == 200, text


def test_while_redis_is_away_the_page_says_so_and_comes_back(served_at):
    with start_server("valkey") as server:
        page = served_at(server.url)
        assert page.get("/")[0] == 200
        server.kill()
        wait_until(lambda: page.get("/")[0] == 503, why="it says that Redis is away")
        assert "overview" in page.get("/workers")[1]
        server.restart()
        wait_until(lambda: page.get("/")[0] == 200, why="it comes back")


def test_a_browser_that_reads_nothing_keeps_nobody_waiting(served):
    page = served()
    host, port = page.address.removeprefix("http://").split(":")
    stuck = []
    for path in ("/live?topics=tasks", "/static/htmx.min.js", "/tasks") * 5:
        line = socket.create_connection((host, int(port)))
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode() * 20)
        stuck.append(line)
    for path in ("/", "/tasks", "/workers"):
        assert page.get(path)[0] == 200
    for line in stuck:
        line.close()
    assert page.get("/")[0] == 200


def test_the_page_beside_a_worker(served, redis_url, tmp_path):
    crew = Crew(tmp_path)
    worker = crew.start(redis_url, name="larch")
    try:
        page = served()
        wait_until(lambda: "larch" in page.get("/workers")[1], why=lambda: worker.log)
        for path in ("/", "/tasks", "/functions", "/schedules", "/limits", "/rejected", "/findings"):
            status, text = page.get(path)
            assert status == 200, text
        assert page.get("/", Host="evil.example")[0] == 421
        assert "PT" in page.get("/findings")[1]
        assert page.close() == 0
    finally:
        crew.close()
