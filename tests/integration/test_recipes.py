"""The recipes: their programs are run, their files are read and compared with what they speak of."""

import ast
import configparser
import hashlib
import http.client
import json
import os
import re
import shlex
import signal
import socket
import sys
import threading
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import takewhile

import pytest
import redis
import yaml

from pytask.domain.cron import cron
from pytask.domain.timing import Timing
from tests.support.cli_tools import ROOT, Started, done, kept_port, pytask, until
from tests.support.servers import HOST, start_server

pytestmark = pytest.mark.slow

FOLDER = ROOT / "docs" / "recipes"
PAGES = sorted(path.stem for path in FOLDER.glob("*.md"))
PROBE = 0.5  # seconds between two probes, each of them a process
MARGIN = 10  # seconds between the worker's own time to leave and the manager's


def blocks(page, language="[a-z]+"):
    text = (FOLDER / f"{page}.md").read_text()
    return [found[1] for found in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)]


def files(page, folder):
    """The blocks that begin with a file's name, as files."""
    found = {}
    for text in blocks(page):
        name = re.match(r"# ([\w/.-]+)(,| |\n)", text)
        if name and "before" not in text.splitlines()[0]:
            path = folder / name[1].rpartition("/")[2]
            path.write_text(text)
            found[path.name] = path
    return found


@pytest.fixture(scope="module")
def server():
    with start_server("valkey") as running:
        yield running


@pytest.fixture
def store(server):
    with redis.Redis(HOST, server.port, decode_responses=True) as client:
        client.flushall()
        yield client


@contextmanager
def worker(target, server, folder, *flags):
    """`pytask run` of a recipe's file, in its folder, once it takes tasks; nothing may go wrong in it."""
    command = pytask("run", target, "--redis", server.url, "--run-dir", folder / "run", *flags)
    with Started(command, folder, cwd=folder) as running:
        running.says("takes tasks from")  # to ask again and again would cost more than the worker's own start
        health = pytask("health", "--ready", "--run-dir", folder / "run")
        until(lambda: done(health).returncode == 0, lambda: running.output)
        yield running
        assert running.end(signal.SIGTERM) == 0, running.output
        assert "Traceback" not in running.output


class Web:
    """A web application under its own server."""

    def __init__(self, port):
        self.port = port

    def ask(self, method, path, data=None):
        line = http.client.HTTPConnection(HOST, self.port, timeout=30)
        line.request(method, path, json.dumps(data), {"Content-Type": "application/json"})
        answer = line.getresponse()
        found = answer.status, json.loads(answer.read())
        line.close()
        return found

    def refuses(self, text):
        """The status of a start with this as its JSON."""
        line = http.client.HTTPConnection(HOST, self.port, timeout=30)
        line.request("POST", "/tasks/countdown?id=none", text, {"Content-Type": "application/json"})
        status = line.getresponse().status
        line.close()
        return status

    def up(self):
        try:
            return self.ask("GET", "/tasks/nobody")[0] == 404
        except OSError:
            return False

    @contextmanager
    def events(self, task_id):
        """The lines of the stream of events."""
        line = http.client.HTTPConnection(HOST, self.port, timeout=30)
        line.request("GET", f"/tasks/{task_id}/events")
        answer = line.getresponse()
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        yield (one.decode().rstrip("\n") for one in answer)
        line.close()


@pytest.mark.parametrize(
    ("page", "command", "data"),
    [
        ("flask", ["-m", "flask", "--app", "web", "run", "--port"], {"from": 3, "pause": 0.1}),
        ("fastapi", ["-m", "uvicorn", "web:app", "--port"], {"start": 3, "pause": 0.1}),
    ],
)
def test_a_web_application(page, command, data, server, store, tmp_path):
    files(page, tmp_path)
    env = {"REDIS_URL": server.url, "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    with (
        worker("tasks.py", server, tmp_path),
        kept_port() as port,
        Started([sys.executable, *command, str(port)], tmp_path, cwd=tmp_path, **env) as running,
    ):
        web = Web(port)
        until(web.up, lambda: running.output)
        assert web.refuses('{"from": ') in (400, 422)
        assert web.ask("GET", "/tasks/none")[0] == 404
        slow = data | {next(iter(data)): 1000}
        assert web.ask("POST", "/tasks/countdown?id=slow", slow) == (201, {"id": "slow"})
        assert web.ask("POST", "/tasks/countdown?id=slow", slow) == (201, {"id": "slow"})
        assert web.ask("POST", "/tasks/countdown?id=slow", data)[0] == 409
        with web.events("slow") as lines:
            seen = read_until(lines, lambda line: re.fullmatch(r"data: 9\d\d", line))
            assert seen[0] == "event: state"
            assert {"event: left"} <= set(seen)
            assert web.ask("POST", "/tasks/slow/stop") == (200, {"id": "slow", "state": "STOPPED"})
            assert "event: stopped" in read_until(lines, lambda line: line == "event: stopped")

        status, made = web.ask("POST", "/tasks/countdown", data)
        assert status == 201
        shown = until(lambda: ended(web, made["id"]), "the countdown ends")
        assert shown == {"id": made["id"], "state": "ENDED", "output": "lift-off", "error": ""}
        assert web.ask("POST", "/tasks/nobody/stop")[0] == 404
        # Who left is forgotten: no subscription is left for a browser that has closed its page.
        if page == "fastapi":
            until(lambda: not watchers(store), lambda: f"{watchers(store)}\n{running.output}")
        assert "Traceback" not in running.output


def ended(web, task_id):
    shown = web.ask("GET", f"/tasks/{task_id}")[1]
    return shown if shown["state"] == "ENDED" else None


def watchers(store):
    return [one["addr"] for one in store.client_list(_type="pubsub") if one["name"] == "pytask-client"]


def read_until(lines, holds):
    seen = []
    for line in lines:
        seen.append(line)
        if holds(line):
            return seen
    raise AssertionError(f"the stream ended: {seen}")


def test_from_celery(server, store, tmp_path):
    made = files("from-celery", tmp_path)
    with worker("after.py", server, tmp_path):
        shown = done([sys.executable, made["producer.py"], server.url])
        assert (shown.returncode, shown.stdout) == (0, "{'seen': 19}\nSTOPPED\n"), shown.stderr


def changed(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def finished(store, task_id, state):
    until(lambda: store.hget(task_id, "state") == state, lambda: store.hgetall(task_id))
    return store.hgetall(task_id)


def test_a_retry_of_celery_is_a_policy(server, store, tmp_path):
    made = files("from-celery", tmp_path)
    look = "raise {'r': OSError, 'f': ValueError}[self.id]('no route')"
    changed(made["after.py"], 'return len(self.task_data["url"])  # yours', look)
    changed(made["after.py"], "first=1,", "first=0.01,")
    # Without `worker`: the log has the traceback of the one that gave up.
    command = pytask("run", "after.py", "--redis", server.url)
    with Started(command, tmp_path, tmp_path):
        for name in "rf":
            store.hset(name, mapping={"function": "follow", "data": '{"url": "u"}'})
            store.lpush("new-task", name)
        retried = finished(store, "r", "ERROR")["error"]
        assert "gave up after 5 restarts" in retried
        assert "the last failure: OSError: no route" in retried
        assert finished(store, "f", "ERROR")["error"] == "u: no route"


def test_a_watcher_that_restarts(server, store, tmp_path):
    files("watcher", tmp_path)
    answers = iter(["one\ntwo\n", "three\n", "denied: the token has expired\n"])
    tokens = []

    def serve():
        while (text := next(answers, None)) is not None:
            line, _address = listener.accept()
            with line, line.makefile("rw") as file:
                tokens.append(file.readline())
                file.write(text)

    with socket.create_server((HOST, 0)) as listener, worker("watcher.py", server, tmp_path):
        threading.Thread(target=serve, daemon=True).start()
        ear = store.pubsub(ignore_subscribe_messages=True)
        ear.subscribe("task-w")
        ear.get_message(timeout=5)  # that it is subscribed
        data = {"host": HOST, "port": listener.getsockname()[1], "token": "t0p"}
        store.hset("w", mapping={"function": "watch", "data": json.dumps(data)})
        store.lpush("new-task", "w")
        assert finished(store, "w", "ERROR")["error"] == "denied: the token has expired"
        heard = []
        while (message := ear.get_message(timeout=0.5)) is not None:
            heard.append(json.loads(message["data"]))
        ear.close()
    assert tokens == ["t0p\n"] * 3
    assert [e["data"]["attempt"] for e in heard if e["event"] == "connected"] == [1, 2, 3]
    assert [e["data"] for e in heard if e["event"] == "line"] == ["one", "two", "three"]
    assert [e["data"]["error"] for e in heard if e["event"] == "retrying"] == [None, None]


def test_a_poll_that_survives_failed_rounds(server, store, tmp_path):
    made = files("watcher", tmp_path)
    fetch = 'return open(self.task_data["url"]).read()'
    changed(made["poll.py"], 'return self.task_data["url"]  # yours', fetch)
    page = tmp_path / "page"
    with worker("poll.py", server, tmp_path):
        data = {"url": str(page), "pause": 0.05}
        store.hset("p", mapping={"function": "poll", "data": json.dumps(data)})
        ear = store.pubsub(ignore_subscribe_messages=True)
        ear.subscribe("task-p")
        store.lpush("new-task", "p")
        heard = []

        def has(name):
            message = ear.get_message(timeout=0.5)
            heard.append(json.loads(message["data"])["event"] if message else "")
            return name in heard

        until(lambda: has("retrying"), lambda: heard)
        page.write_text("found")
        until(lambda: has("polled"), lambda: heard)
        ear.close()
        assert heard[: heard.index("retrying")].count("missed") == 5


def test_a_nightly_job(server, store, tmp_path):
    made = files("nightly", tmp_path)
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "old").touch()
    os.utime(tmp_path / "reports" / "old", (0, 0))
    (tmp_path / "reports" / "new").touch()
    assert "run nightly.py" in made["nightly.py"].read_text().splitlines()[0]
    with worker("nightly.py", server, tmp_path) as running:
        until(lambda: store.zcard("pytask:schedules") == 2, lambda: running.output)
        for name in ("nightly-report", "cleanup"):
            until(lambda name=name: store.zscore("pytask:schedules", name), lambda: running.output)
        seconds, _ = store.time()
        store.hdel("pytask:schedule:cleanup", "jitter")  # a test does not wait for it
        store.zadd("pytask:schedules", {"cleanup": (seconds - 1) * 1000})
        until(lambda: store.hget("cleanup", "state") == "ENDED", lambda: running.output)
        assert json.loads(store.hget("cleanup", "output")) == {"removed": 1}
        assert [path.name for path in (tmp_path / "reports").iterdir()] == ["new"]
        # Nobody was there for two nights.
        store.hset("pytask:schedule:nightly-report", "deadline", 2 * 86400)
        coming = int(store.zscore("pytask:schedules", "nightly-report"))
        nights = cron("0 3 * * *", "Europe/Berlin").times(coming - 5 * 86400_000)
        *_, first, _, last = takewhile(lambda at: at < coming, nights)
        store.zadd("pytask:schedules", {"nightly-report": first})
        until(lambda: store.hget("nightly-report", "state") == "ENDED", lambda: running.output)
        assert json.loads(store.hget("nightly-report", "output")) == {"until": last / 1000, "days": 3}
        shown = done(pytask("schedule", "show", "nightly-report", "--redis", server.url)).stdout
        assert "At 03:00 every day, Europe/Berlin" in shown
        assert "2 skipped: late" in shown


def test_one_session_per_account(server, store, tmp_path):
    made = files("accounts", tmp_path)
    assert "run accounts.py" in made["accounts.py"].read_text().splitlines()[0]
    with worker("accounts.py", server, tmp_path) as running:
        for page in range(4):
            for account in (17, 18):
                words = ("new", "session", f"account={account}", f"page={page}", "--redis", server.url)
                assert done(pytask(*words)).returncode == 0
        log = tmp_path / "sessions.log"
        until(lambda: log.exists() and len(log.read_text().splitlines()) == 16, lambda: running.output)
        for account in ("17", "18"):
            lines = [line.split() for line in log.read_text().splitlines() if line.split()[1] == account]
            assert [word for word, *_ in lines] == ["login", "logout"] * 4
            assert all(lines[at][2] == lines[at + 1][2] for at in range(0, 8, 2))
        assert not store.hlen("pytask:slotted")


def test_retries_with_fatal(server, store, tmp_path):
    made = files("retries", tmp_path)
    changed(made["export.py"], "limit=5", "limit=1")
    asked = []

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            first = asked.count(self.path) == 1
            self.send_response({"/soon": 503 if first else 200, "/none": 404}.get(self.path, 503))
            self.end_headers()
            self.wfile.write(b'{"rows": 3}')

        def log_message(self, *_words):
            pass

    with HTTPServer((HOST, 0), Answers) as served, worker("export.py", server, tmp_path):
        threading.Thread(target=served.serve_forever, daemon=True).start()
        for name in ("soon", "none", "busy"):
            url = f"http://{HOST}:{served.server_port}/{name}"
            store.hset(name, mapping={"function": "export", "data": json.dumps({"url": url})})
            store.lpush("new-task", name)
        assert finished(store, "none", "ERROR")["error"] == "404 Not Found at attempt 1"
        assert json.loads(finished(store, "soon", "ENDED")["output"]) == {"rows": 3}
        error = finished(store, "busy", "ERROR")["error"]
        served.shutdown()
    assert error.startswith("[PT163] gave up after 1 restart in ")
    assert error.endswith("the last failure: 503 Service Unavailable at attempt 2")
    assert sorted(asked) == ["/busy", "/busy", "/none", "/soon", "/soon"]


def test_from_rq(server, store, tmp_path):
    made = files("from-rq", tmp_path)
    states = iter(["new", "busy"])

    class Export(BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps({"state": next(states, "ready")}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_words):
            pass

    with HTTPServer((HOST, 0), Export) as served, worker("after.py", server, tmp_path):
        threading.Thread(target=served.serve_forever, daemon=True).start()
        url = f"http://{HOST}:{served.server_port}/export/1"
        shown = done([sys.executable, made["producer.py"], server.url, url])
        served.shutdown()
        assert (shown.returncode, shown.stdout) == (0, f"{url}\n"), shown.stderr
        assert next(states, "read") == "read"


def test_from_loops(server, store, tmp_path):
    made = files("from-loops", tmp_path)
    (before,) = (text for text in blocks("from-loops", "ini") if "supervisord.conf" in text)
    conf = tmp_path / "supervisord.conf"
    conf.write_text(before.replace(" 60\n", " 0.1\n").replace(" 300\n", " 0.1\n"))
    move = [sys.executable, made["move.py"], conf, server.url]
    with worker("feeds.py", server, tmp_path):
        assert len(done(move).stdout.splitlines()) == 2
        runs = {name: until(lambda n=name: store.hget(n, "run"), name) for name in ("feed-news", "feed-blog")}
        ear = store.pubsub(ignore_subscribe_messages=True)
        ear.psubscribe("task-*")
        channels = set()

        def all_published():
            message = ear.get_message(timeout=0.5)
            channels.update([message["channel"]] if message and '"round":' in message["data"] else [])
            return channels >= {"task-feed-news", "task-feed-blog"}

        until(all_published, lambda: channels)
        ear.close()
        # A second run changes what is different, and only that.
        conf.write_text(
            conf.read_text().replace("https://example.com/blog 0.1", "https://example.com/new 0.2")
        )
        shown = done(move)
        assert shown.stdout.splitlines()[1] == "feed-blog {'url': 'https://example.com/new', 'pause': 0.2}", (
            shown
        )
        assert store.hget("feed-blog", "run") != runs["feed-blog"]
        assert store.hget("feed-news", "run") == runs["feed-news"]


def test_thousands_of_loops_move_and_a_second_run_changes_only_what_is_different(server, store, tmp_path):
    made = files("from-loops", tmp_path)
    conf = tmp_path / "supervisord.conf"
    move = [sys.executable, made["move.py"], conf, server.url]

    def write(pauses):
        sections = (f"[program:feed-{n}]\ncommand=python feed.py u{n} {p}\n" for n, p in enumerate(pauses))
        conf.write_text("\n".join(sections))

    write([60] * 2500)
    shown = done(move)
    assert (shown.returncode, len(shown.stdout.splitlines())) == (0, 2500), shown.stderr
    assert store.llen("new-task") == 2500
    pauses = [60] * 2500
    for changed in (3, 1700, 2499):
        pauses[changed] = 30
    write([*pauses, 60])
    shown = done(move)
    assert shown.returncode == 0, shown.stderr
    assert store.llen("new-task") == 2501
    data = [json.loads(store.hget(f"feed-{n}", "data")) for n in range(2501)]
    assert [n for n, one in enumerate(data) if one["pause"] == 30] == [3, 1700, 2499]


@pytest.mark.parametrize("page", ["docker", "systemd"])
def test_the_tasks_of_a_deployment(page, server, store, tmp_path):
    files(page, tmp_path)
    with worker("tasks.py", server, tmp_path):
        name = {"docker": "tick", "systemd": "watch"}[page]
        store.hset("one", mapping={"function": name, "data": '{"pause": 0.05}'})
        ear = store.pubsub(ignore_subscribe_messages=True)
        ear.subscribe("task-one")
        store.lpush("new-task", "one")
        own = {"docker": "tick", "systemd": "seen"}[page]
        until(lambda: own in str((ear.get_message(timeout=0.5) or {}).get("data")), own)
        ear.close()


def test_c_code_and_another_program(server, store, tmp_path):
    files("blocking", tmp_path)
    text = tmp_path / "lines.txt"
    text.write_text("b\na\nb\n")
    worker = pytask("run", "tasks.py", "--redis", server.url)
    with Started(worker, tmp_path, tmp_path) as running:
        for name in ("digest", "sort"):
            store.hset(name, mapping={"function": name, "data": json.dumps({"path": str(text)})})
            store.lpush("new-task", name)
            until(lambda name=name: store.hget(name, "state") == "ENDED", lambda: running.output)
    digest = hashlib.sha256(text.read_bytes()).hexdigest()
    assert [json.loads(store.hget(name, "output")) for name in ("digest", "sort")] == [digest, ["a", "b"]]


def test_the_image(tmp_path):
    lines = files("docker", tmp_path)["Dockerfile"].read_text().splitlines()
    command = next(line for line in lines if line.startswith("CMD "))
    assert json.loads(command.removeprefix("CMD "))[:2] == ["pytask", "run"]  # a list: SIGTERM reaches it
    check = next(line for line in lines if line.startswith("HEALTHCHECK "))
    understood(json.loads(check.partition("CMD ")[2]))


def test_the_compose_file(tmp_path):
    services = yaml.safe_load(files("docker", tmp_path)["compose.yaml"].read_text())["services"]
    assert seconds(services["worker"]["stop_grace_period"]) >= Timing().shutdown + MARGIN
    settings = dict(zip(services["redis"]["command"][1::2], services["redis"]["command"][2::2], strict=True))
    assert settings == {"--appendonly": "yes", "--maxmemory-policy": "noeviction"}
    assert "ports" not in services["redis"]
    with start_server("redis", *services["redis"]["command"][1:]) as running:
        assert running.alive


def test_the_deployment(server, store, tmp_path):
    text = files("kubernetes", tmp_path)["worker.yaml"].read_text()
    deployment, budget = yaml.safe_load_all(text)
    spec = deployment["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert spec["terminationGracePeriodSeconds"] >= Timing().shutdown + MARGIN
    assert deployment["spec"]["selector"] == budget["spec"]["selector"]
    assert deployment["spec"]["template"]["metadata"]["labels"] == budget["spec"]["selector"]["matchLabels"]
    live, ready, startup = (container[f"{name}Probe"] for name in ("liveness", "readiness", "startup"))
    # A probe waits longer than its command; the kernel would end a worker that hangs for much longer.
    for probe in (live, ready, startup):
        assert probe["timeoutSeconds"] > 5
        assert probe["periodSeconds"] > 0
    assert live["periodSeconds"] * live["failureThreshold"] < Timing().kill
    # The commands themselves, with another folder and another address.
    files("docker", tmp_path)
    here = {"/run/pytask": str(tmp_path / "run")}
    command = [here.get(word, word) for word in container["command"]]
    assert command[0] == "pytask"
    with Started(pytask(*command[1:]), tmp_path, cwd=tmp_path, PYTASK_REDIS_URL=server.url) as running:
        running.says("takes tasks from")
        probes = [[here.get(word, word) for word in probe["exec"]["command"]][1:] for probe in (ready, live)]
        until(lambda: done(pytask(*probes[0])).returncode == 0, lambda: running.output)
        assert done(pytask(*probes[1])).returncode == 0
        # Redis is away: not ready, and live all the same.
        server.freeze()
        try:
            until(lambda: done(pytask(*probes[0])).returncode == 3, "not ready without Redis", every=PROBE)
            assert done(pytask(*probes[1])).returncode == 0
        finally:
            server.thaw()
        until(lambda: done(pytask(*probes[0])).returncode == 0, "ready again", every=PROBE)
        # Its loop does not turn: not live.
        running.process.send_signal(signal.SIGSTOP)
        try:
            assert done(pytask(*probes[1], "--timeout", "0.5")).returncode == 3
        finally:
            running.process.send_signal(signal.SIGCONT)
        assert running.end(signal.SIGTERM) == 0


def test_the_unit_is_what_the_command_prints(tmp_path):
    shown = unit(files("systemd", tmp_path)["feeds.service"].read_text())
    words = [
        "tasks.py",
        "--name",
        "feeds",
        "--user",
        "feeds",
        "--folder",
        "/srv/feeds",
        "--",
        "--processes",
        "4",
    ]
    printed = unit(done(pytask("unit", *words), cwd=tmp_path).stdout)
    assert float(shown["Service"]["TimeoutStopSec"]) >= Timing().shutdown + MARGIN
    assert shown["Service"]["ExecStart"].split()[1:] == ["run", "tasks.py", "--processes", "4"]
    own = {"ExecStart", "EnvironmentFile", "Environment", "Description"}
    for section in ("Unit", "Service", "Install"):
        expected = {key: value for key, value in printed[section].items() if key not in own}
        assert {key: value for key, value in shown[section].items() if key not in own} == expected


def unit(text):
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str
    parser.read_string(text)
    return parser


def seconds(text):
    return float(re.fullmatch(r"([0-9]+)s", text)[1])


def understood(words):
    """A command line of `pytask` whose verb and flags there are."""
    assert words[0] == "pytask"
    helped = help_of(*(words[1:3] if words[1] in ("limits", "schedule") else words[1:2]))
    assert helped.returncode == 0
    for flag in (word for word in words[2:] if word.startswith("--")):
        assert flag in helped.stdout


@cache  # the pages name a dozen verbs in a hundred places
def help_of(*verb):
    return done(pytask(*verb, "--help"))


@pytest.mark.parametrize("page", PAGES)
def test_every_command_and_link_of_a_page_is_there(page):
    text = (FOLDER / f"{page}.md").read_text()
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (FOLDER / target).exists(), target
    for block in blocks(page, "python"):
        ast.parse(block)
    for line in re.findall(
        r"^(?:ExecStart=\S*/)?(pytask [a-z].*?)(?: *&| +#.*)?$", "\n".join(blocks(page)), re.MULTILINE
    ):
        understood(shlex.split(line))
    for quoted in re.findall(r"`(pytask [a-z][^`]*)`", text):
        understood(shlex.split(quoted))


def test_the_index_has_every_page():
    named = re.findall(r"\]\(([a-z-]+)\.md\)", (FOLDER / "README.md").read_text())
    assert sorted(named) == [page for page in PAGES if page != "README"]
