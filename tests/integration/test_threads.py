"""Threads of tasks, which are greenlets in a patched process: whose they are, and what is said of them.

And what a stopped task leaves behind.
"""

import re
import socket

import pytest

import pytask
from tests.support import cli_tools
from tests.support.cli_tools import PATIENCE, Started, done, until, write
from tests.support.servers import HOST, start_server

TASKS = """
    import socket
    import threading
    import time
    import weakref
    from concurrent.futures import ThreadPoolExecutor
    from functools import partial
    from queue import Queue
    from sched import scheduler
    import gevent
    import pytask
    from pytask import Task

    class Client:
        '''As many libraries: its thread is started with the first question.'''
        def __init__(self):
            self.questions, self.thread = Queue(), None
        def make(self):
            return threading.Thread(target=self.run, daemon=True)
        def ask(self):
            if self.thread is None:
                self.thread = self.make()
                self.thread.start()
            answers = Queue()
            self.questions.put(answers)
            return answers.get(timeout=20)
        def run(self):
            while True:
                self.questions.get().put("answered")

    class ByClosure(Client):
        def make(self):
            return threading.Thread(target=lambda: self.run(), daemon=True)

    class ByPartial(Client):
        def make(self):
            return threading.Thread(target=partial(Client.run, self), daemon=True)

    class ByReference(Client):
        def make(self):
            return threading.Thread(target=lambda me: me().run(), args=(weakref.ref(self),), daemon=True)

    class Sender(threading.Thread):
        def __init__(self, client):
            super().__init__(daemon=True)
            self.client = client
        def run(self):
            self.client.run()

    class ByThread(Client):
        def make(self):
            return Sender(self)

    class ByPart(Client):
        def __init__(self):
            self.part = Client()
            self.questions, self.thread = self.part.questions, None
        def make(self):
            return threading.Thread(target=self.part.run, daemon=True)

    class Timed(Client):
        def make(self):
            timer = threading.Timer(0.01, self.run)
            timer.daemon = True
            return timer

    class Pool:
        def __init__(self):
            self.pool = ThreadPoolExecutor(1)
        def ask(self):
            return self.pool.submit(str, "answered").result()

    KINDS = {
        kind.__name__: kind
        for kind in (Client, ByClosure, ByPartial, ByReference, ByThread, ByPart, Timed, Pool)
    }
    MADE = {name: kind() for name, kind in KINDS.items()}
    LAZY = {}

    def made_on_first_use(name):
        if name not in LAZY:
            with pytask.shared():
                gevent.sleep(0.01)
                LAZY[name] = KINDS[name]()
        return LAZY[name]

    class Use(Task):
        class Config:
            NAME = "use"
        def start(self):
            name = self.task_data["name"]
            client = made_on_first_use(name) if self.task_data["lazy"] else MADE[name]
            said = client.ask()
            self.emit("used", said)
            if self.task_data["hold"]:
                gevent.sleep(1000)
            return said

    BEATS = {}

    class Work:
        def __init__(self, task_id):
            self.id = task_id
        def beat(self, *_):
            while True:
                BEATS[self.id] = BEATS.get(self.id, 0) + 1
                gevent.sleep(0.01)
        def start(self):
            threading.Thread(target=self.beat, name="beater").start()
        def pool(self):
            self.kept = ThreadPoolExecutor(2)
            self.kept.submit(self.beat)
            self.kept.submit(str)
        def given(self):
            OTHERS.put(self)
            threading.Thread(target=OTHERS.beat, name="beater").start()
        def by_greenlet(self):
            gevent.spawn(self.start)

        def called_back(self):
            SCHEDULER.enter(0, 0, lambda: threading.Thread(target=self.beat, args=(SCHEDULER,)).start())
            SCHEDULER.run()

    SCHEDULER = scheduler(time.monotonic, gevent.sleep)

    class Others:
        def put(self, work):
            self.work = work
        def beat(self):
            self.work.beat()

    OTHERS = Others()

    class Own(Task):
        class Config:
            NAME = "own"
        def start(self):
            work = Work(self.id)
            getattr(work, self.task_data["how"])()
            if self.task_data["hold"]:
                gevent.sleep(1000)

    class Beats(Task):
        class Config:
            NAME = "beats"
        def start(self):
            return BEATS.get(self.task_data["of"], 0)

    class Ghost(Task):
        '''Its objects know each other, as in most brokers' clients.'''
        class Config:
            NAME = "ghost"
        def start(self):
            self.socket = socket.create_connection(("127.0.0.1", self.task_data["port"]))
            self.channel = self.receive
            self.channel()
        def receive(self):
            self.socket.sendall(b"here")
            self.socket.recv(1)

    class Fails(Task):
        class Config:
            NAME = "fails"
        def start(self):
            thread = threading.Thread(target=lambda: {}["no such key"], name="reader")
            thread.start()
            thread.join()
            return threading.current_thread().name

    class Stubborn(Task):
        class Config:
            NAME = "stubborn"
        def start(self):
            def refuses():
                while BEATS.get("enough", 0) < 1:
                    try:
                        gevent.sleep(0.01)
                    except BaseException:
                        self.emit("refused", None)
            threading.Thread(target=refuses, name="mule").start()

    class Enough(Task):
        class Config:
            NAME = "enough"
        def start(self):
            BEATS["enough"] = 1
"""
KINDS = ("Client", "ByClosure", "ByPartial", "ByReference", "ByThread", "ByPart", "Timed", "Pool")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A server, and a worker of these tasks at a tenth of the times."""
    folder = tmp_path_factory.mktemp("threads")
    write(folder / "tasks.py", TASKS)
    with start_server("valkey") as store:
        words = ("run", "tasks.py", "--redis", store.url, "--time-scale", 0.1, "--task-logs", 50)
        with Started(cli_tools.pytask(*words), folder, folder) as worker:
            worker.says("takes tasks from")
            yield store, worker
            assert worker.end() == 0, worker.output


@pytest.fixture
def worker(place):
    return place[1]


@pytest.fixture
def tasks(place):
    with pytask.Client(place[0].url, timeout=5, connect_timeout=5) as made:
        yield made


def ended(tasks, function, task_id, **data):
    """The task, which came to its end."""
    tasks.start(function, data or None, id=task_id)
    return tasks.wait(task_id, timeout=PATIENCE)


def running(tasks, function, task_id, event, **data):
    """Start a task that goes on, and wait for an event of it."""
    events = tasks.watch(task_id, seconds=PATIENCE)
    tasks.start(function, data, id=task_id)
    assert any(one.name == event for one in events)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("name", KINDS)
def test_a_thread_of_what_is_meant_for_all_keeps_no_task_and_dies_with_none(tasks, name, lazy):
    running(tasks, "use", f"first-{name}-{lazy}", "used", name=name, lazy=lazy, hold=True)
    assert tasks.stop(f"first-{name}-{lazy}", wait=PATIENCE)
    found = ended(tasks, "use", f"second-{name}-{lazy}", name=name, lazy=lazy, hold=False)
    assert (found.state, found.output) == ("ENDED", "answered")


def beats(tasks, of, number=iter(range(1000))):  # noqa: B008 - ids that never come again
    return ended(tasks, "beats", f"beats-{next(number)}", of=of).output


@pytest.mark.parametrize("how", ["start", "pool", "given", "by_greenlet", "called_back"])
def test_a_thread_that_a_run_makes_dies_with_it_and_says_nothing(tasks, worker, how):
    """Also where it runs code of an object that is meant for all: the task began it, not that object."""
    task_id = f"own-{how}"
    before = len(worker.output)
    tasks.start("own", {"how": how, "hold": True}, id=task_id)
    until(lambda: beats(tasks, task_id) > 0, "a beat")
    assert tasks.stop(task_id, wait=PATIENCE)
    assert beats(tasks, task_id) == beats(tasks, task_id)
    said = worker.output[before:]
    assert not re.search("Traceback|GreenletExit|Exception in", said), said


def test_the_thread_that_keeps_a_task_from_ending_is_named(tasks, worker, place):
    tasks.start("own", {"how": "start", "hold": False}, id="kept")
    named = r"thread beater \(in beat at .*/tasks\.py:\d+\)"
    worker.says("[PT045] task kept: start() returned 0.5 s ago")
    assert re.search(rf"\[PT045\] task kept: .*: {named}\. Fix: .*shared\(\)", worker.output)
    asked = cli_tools.pytask("why", "kept", "--redis", place[0].url)
    said = rf"start\(\) has returned; the run ends when its threads end: {named}"
    until(lambda: re.search(said, re.sub(r"\s+", " ", done(asked).stdout)), lambda: done(asked).stdout)
    assert tasks.stop("kept", wait=PATIENCE)


def test_a_thread_that_cannot_be_killed_is_named(tasks, worker):
    tasks.start("stubborn", id="mulish")
    tasks.wait("mulish", "RUNNING", timeout=PATIENCE)
    tasks.stop("mulish")
    worker.says("[PT042] task mulish survives being killed (thread mule (in refuses at ")
    ended(tasks, "enough", "enough")
    assert tasks.wait("mulish", timeout=PATIENCE).state == "STOPPED"


def test_the_error_of_a_thread_is_the_task_s_and_its_thread_has_its_name(tasks, worker):
    found = ended(tasks, "fails", "failing")
    assert (found.state, found.output) == ("ENDED", "failing")
    lines = until(lambda: [line for line in tasks.logs("failing") if line.level == "error"], "a line")
    assert "thread reader failed, but the task continues: KeyError('no such key')" in lines[0].text
    assert "Traceback" in lines[0].text
    assert "Exception in thread" not in worker.output


def test_the_connection_of_a_stopped_task_is_closed_soon(tasks):
    with socket.create_server((HOST, 0)) as server:
        tasks.start("ghost", {"port": server.getsockname()[1]}, id="ghost")
        server.settimeout(PATIENCE)
        line, _ = server.accept()
        with line:
            line.settimeout(PATIENCE)
            assert line.recv(4) == b"here"
            assert tasks.stop("ghost", wait=PATIENCE)
            assert line.recv(4) == b""
