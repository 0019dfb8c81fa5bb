"""`pytask doctor`: each fault is planted for real, named with its code, and gone once its fix is applied.

Where the fault is one of the machine, the doctor is a process of its own; elsewhere it is called in here,
which is quicker. Settings that only warn, and faults of the keys, are in test_console.
"""

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner

from pytask.cli.main import main
from pytask.cli.messages import explanations
from tests.chaos.clockstep import ServerClock
from tests.support.cli_tools import ROOT, Started, done, pytask, sent_by, until, write
from tests.support.servers import start_server

pytestmark = pytest.mark.slow

TASKS = """
    import gevent
    from pytask import Task

    class Sleeper(Task):
        class Config:
            NAME = "sleeper"
        def start(self):
            gevent.sleep(1000)
"""
THUMB = """
    class Thumb(Task):
        class Config:
            NAME = "twiddle-thumbs"
        def start(self):
            return "done"
"""
# What `pip install` of a worker of another release leaves: the same program with another number.
OTHER_RELEASE = """
    import sys
    from pytask.domain import version
    version.__version__ = "9.1.0"
    from pytask.cli.main import main
    sys.argv[0] = "pytask"
    main()
"""


OLDER_PROTOCOL = OTHER_RELEASE.replace('version.__version__ = "9.1.0"', 'version.PROTOCOL = ""')


@pytest.fixture(scope="module")
def store():
    with start_server("valkey", appendonly=True) as server:
        yield server


@pytest.fixture
def client(store):
    with redis.Redis.from_url(store.url, decode_responses=True) as made:
        made.flushall()
        yield made


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "tasks.py", TASKS)
    return tmp_path


def diagnosis(url, **env):
    """{code: finding}; the exit code and the closing line must fit.  With `env` in a process of its own."""
    words = ["doctor", "-o", "json", "--redis", url]
    if env:
        shown = done(pytask(*words), PYTASK_TIMEOUT="8", **env)
        code = shown.returncode
    else:
        shown = CliRunner().invoke(main, words, env={"PYTASK_TIMEOUT": "8"})
        code = shown.exit_code
    items = json.loads(shown.stdout)["items"]
    found = {item["code"]: item for item in items}
    serious = [item for item in items if item["serious"]]
    assert code == (3 if serious else 0), shown
    problems = "1 problem" if len(serious) == 1 else f"{len(serious)} problems"
    notes = len(items) - len(serious)
    also = "" if not notes else " and 1 note" if notes == 1 else f" and {notes} notes"
    said = f"pytask: [PT083] {problems}{also} found; `pytask explain CODE` describes each\n"
    assert shown.stderr == (said if serious else "")
    assert all(item["what"] and item["fix"] for item in found.values())
    return found


def worker(store, folder, *flags):
    return Started(pytask("run", "tasks.py", "--redis", store.url, *flags), folder, folder)


def target_of(fix):
    """The flags of a `pytask run TARGET` that a fix prints: it is taken at its word."""
    words = re.search(r"pytask run TARGET((?: --[a-z-]+)*)", fix)
    assert words, fix
    return words[1].split()


def push(client, task_id, function):
    client.hset(task_id, mapping={"function": function, "data": "{}"})
    client.lpush("new-task", task_id)


def state(client, task_id, wanted):
    until(lambda: client.hget(task_id, "state") == wanted, lambda: client.hgetall(task_id))


def test_a_server_that_evicts_and_keeps_nothing_on_disk():
    with (
        start_server("valkey", "--maxmemory-policy", "allkeys-lru", "--maxmemory", "100mb") as server,
        redis.Redis.from_url(server.url) as admin,
    ):
        found = diagnosis(server.url)
        assert set(found) == {"PT075", "PT076"}
        assert "allkeys-lru" in found["PT075"]["what"]
        assert "a restart of the server loses tasks" in found["PT076"]["what"]
        for one in found.values():
            admin.execute_command(*sent_by(one["fix"]))
        assert diagnosis(server.url) == {}
        server.kill()  # it would write its new file first


def test_a_replica_and_its_primary(store, client):
    with start_server("valkey", "--replicaof", f"{store.host} {store.port}", appendonly=True) as replica:
        found = diagnosis(replica.url)
        assert "read-only replica" in found["PT072"]["what"]
        primary = re.search(r"connect to its primary (\S+),", found["PT072"]["fix"])[1]
        assert "PT072" not in diagnosis(f"redis://{primary}/0")


def test_a_worker_with_few_files_and_a_server_with_few_connections(store, client, folder):
    limited = ["sh", "-c", 'ulimit -n 400; exec "$@"', "sh"]
    run = pytask("run", "tasks.py", "--redis", store.url, "--name", "small")
    with Started([*limited, *run], folder, folder) as one:
        one.says("takes tasks")
        until(lambda: set(diagnosis(store.url)) == {"PT146"}, "it shows itself, and a monitor has swept")
        found = diagnosis(store.url)
        assert "takes up to 10000 tasks, but its process may open only 336 files" in found["PT146"]["what"]
    most = client.config_get("maxclients")["maxclients"]
    client.config_set("maxclients", client.info("clients")["connected_clients"] + 10)
    try:
        found = diagnosis(store.url)
        assert "more are possible" in found["PT148"]["what"]
        client.execute_command(*shlex.split(found["PT148"]["fix"]))
        assert "PT148" not in diagnosis(store.url)
    finally:
        client.config_set("maxclients", most)


@pytest.fixture(scope="module")
def clock(tmp_path_factory):
    """A clock of the wall that can be set, for the processes that are started with `clock.env`."""
    made = ServerClock(tmp_path_factory.mktemp("clock"))
    if not made.works:
        pytest.skip(made.reason)
    made.env = dict(word.split("=", 1) for word in made.prefix[1:])
    return made


def test_a_clock_that_is_off(store, client, clock):
    for seconds, word in ((-300, "ahead of"), (300, "behind")):
        clock.set(seconds)
        found = diagnosis(store.url, **clock.env)
        assert set(found) == {"PT090"}
        assert re.search(rf"of Redis is (4m5\ds|5m\S*) {word} the clock of this", found["PT090"]["what"])
        assert "set-ntp true" in found["PT090"]["fix"]
    clock.set(0)  # as the fix says: both go by the same time
    assert diagnosis(store.url, **clock.env) == {}


@pytest.fixture
def place(tmp_path):
    """An environment with our dependencies, and a folder of wheels that its pip takes for the index."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    dependencies = tmp_path / "dependencies"
    dependencies.mkdir()
    for path in Path(pytest.__file__).parents[1].iterdir():
        if "pytaskd" not in path.name:
            (dependencies / path.name).symlink_to(path)
    (packages,) = (tmp_path / "env").glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(str(dependencies))
    files = {str(path.relative_to(ROOT)): path.read_bytes() for path in (ROOT / "pytask").rglob("*.*")}
    ours = {name: data for name, data in files.items() if "__pycache__" not in name}
    ours_points = distribution("pytaskd").entry_points.select(group="console_scripts")
    scripts = [f"{script.name} = {script.value}" for script in ours_points]
    write_wheel(tmp_path / "wheels", "pytaskd", "0.1.0", ours, "\n".join(scripts))
    theirs = {"pytask/__init__.py": b"def cli(): print('theirs')", "pytask/__main__.py": b"import pytask"}
    write_wheel(tmp_path / "wheels", "pytask", "0.6.0", theirs, "pytask=pytask:cli")
    return tmp_path


def write_wheel(folder, name, version, files, scripts):
    folder.mkdir(exist_ok=True)
    info = f"{name}-{version}.dist-info"
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{scripts}\n",
    }
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, data in files.items():
            wheel.writestr(path, data)
        wheel.writestr(f"{info}/RECORD", "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"]))


def pip(place, words):
    command = [sys.executable, "-m", "pip", "--python", place / "env" / "bin" / "python"]
    settings = {
        "PIP_NO_INDEX": "1",
        "PIP_NO_DEPS": "1",
        "PIP_FIND_LINKS": str(place / "wheels"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    shown = done([*command, *shlex.split(words)], place, **settings)
    assert shown.returncode == 0, shown.stderr


def test_the_other_project_of_our_name(store, client, place):
    """Both write the same files: the last that comes has the name `pytask`. Ours has a second one."""
    script = place / "env" / "bin" / "pytaskd"

    def doctor():
        return done([script, "doctor", "--redis", store.url], place, PYTHONPATH="", PYTASK_TIMEOUT="8")

    pip(place, "install -q pytask")
    pip(place, "install -q pytaskd")
    found = doctor()
    assert (found.returncode, "Traceback" in found.stderr) == (3, False)
    assert found.stdout.startswith("PT025  ")
    assert "`pytask` 0.6.0" in found.stdout
    pip(place, "install -q --force-reinstall pytask")
    refused = doctor()
    assert (refused.returncode, refused.stdout) == (78, "")
    assert refused.stderr.startswith("pytask: [PT025] ")
    assert "`pytask` 0.6.0" in refused.stderr
    fix = re.search(r"pip (uninstall .*? pytaskd) && pip (install pytaskd)", refused.stderr)
    assert fix[0] in found.stdout
    pip(place, fix[1])
    pip(place, fix[2])
    mended = doctor()
    assert (mended.returncode, mended.stderr) == (0, "")
    assert mended.stdout.startswith("no problems found")


def test_a_client_library_that_is_too_old(store, client, tmp_path):
    """The library here, under the number of one that mixes up replies."""
    old = tmp_path / "old"
    shutil.copytree(Path(redis.__file__).parent, old / "redis", ignore=shutil.ignore_patterns("__pycache__"))
    init = old / "redis" / "__init__.py"
    text, times = re.subn(
        r"^__version__ = .*$", '__version__ = "4.5.1"', init.read_text(), flags=re.MULTILINE
    )
    assert times == 1
    init.write_text(text)
    found = diagnosis(store.url, PYTHONPATH=f"{old}:{ROOT}")
    assert set(found) == {"PT024"}
    assert "redis-py 4.5.1 can return one command's reply to another" in found["PT024"]["what"]
    assert found["PT024"]["fix"] == "pip install 'redis>=5'"
    shutil.rmtree(old)  # what pip does first; a newer one is here
    assert diagnosis(store.url, PYTHONPATH=f"{old}:{ROOT}") == {}


def test_a_worker_of_another_release(store, client, folder):
    program = write(folder / "other.py", OTHER_RELEASE)
    words = ["run", "tasks.py", "--redis", store.url, "--name", "elder", "--time-scale", "0.2"]
    with (
        worker(store, folder, "--name", "ours", "--time-scale", "0.2"),
        Started([sys.executable, program, *words], folder, folder) as elder,
    ):
        found = until(lambda: diagnosis(store.url).get("PT094"), lambda: elder.output)
        assert "elder run pytask 9.1.0" in found["what"]
        assert "pip install --upgrade pytaskd" in found["fix"]
        assert elder.end() == 0
        with worker(store, folder, "--name", "elder", "--time-scale", "0.2"):  # upgraded
            until(lambda: client.zcard("pytask:workers") == 2, "both show themselves")
            until(lambda: diagnosis(store.url) == {}, lambda: diagnosis(store.url))  # one has to sweep first


def test_a_worker_of_an_older_wire_protocol(store, client, folder):
    program = write(folder / "other.py", OLDER_PROTOCOL)
    words = ["run", "tasks.py", "--redis", store.url, "--name", "elder", "--time-scale", "0.2"]
    with (
        Started([sys.executable, program, *words], folder, folder) as elder,
        worker(store, folder, "--name", "ours", "--time-scale", "0.2") as ours,
    ):
        found = until(lambda: diagnosis(store.url).get("PT167"), lambda: elder.output)
        assert found["what"].startswith("elder speaks wire protocol 1.0, and this release 1.")
        assert "starts delayed tasks at once" in found["what"]
        assert "pip install --upgrade pytaskd" in found["fix"]
        until(lambda: "[PT167] worker 'elder'" in ours.output, lambda: ours.output)
        assert elder.end() == 0
        until(lambda: "PT167" not in diagnosis(store.url), lambda: diagnosis(store.url))


def test_a_delayed_task_that_nobody_moves(store, client, folder):
    client.hset("late", mapping={"function": "sleeper", "not_before": "1", "state": "WAIT"})
    client.zadd("pytask:timers", {"late": 1000 * (int(client.time()[0]) - 60)})
    found = diagnosis(store.url)["PT168"]
    assert re.match(r"the time of a delayed task came 1m\d*s? ago", found["what"])
    with worker(store, folder, *target_of(found["fix"]), "--time-scale", "0.2"):
        state(client, "late", "RUNNING")
        until(lambda: diagnosis(store.url) == {}, lambda: diagnosis(store.url))


def test_no_monitor_and_a_task_that_nobody_takes(store, client, folder):
    push(client, "idle", "sleeper")
    found = diagnosis(store.url)
    assert {"PT096"} <= set(found)
    with worker(store, folder, "--no-monitor", "--time-scale", "0.2"):
        state(client, "idle", "RUNNING")
        until(lambda: client.zcard("pytask:workers"), "it shows itself")
        found = diagnosis(store.url)
        assert set(found) == {"PT093"}
        assert "no monitor has swept ever" in found["PT093"]["what"]
        with worker(store, folder, *target_of(found["PT093"]["fix"]), "--time-scale", "0.2"):
            until(lambda: client.zcard("pytask:monitors"), "it sweeps")
            assert diagnosis(store.url) == {}


def test_parked_tasks(store, client, folder):
    push(client, "idle", "twiddle-thumb")
    with worker(store, folder, "--time-scale", "0.2") as first:
        first.says("[PT092]")
        until(lambda: client.zcard("pytask:monitors"), "it sweeps")
        found = diagnosis(store.url)
        assert set(found) == {"PT092"}
        assert "no worker knows the function twiddle-thumb" in found["PT092"]["what"]
        name = re.search(r"a class with NAME = '(\S+)'", found["PT092"]["fix"])[1]
        write(folder / "more.py", TASKS + THUMB.replace("twiddle-thumbs", name))
        command = pytask("run", "more.py", "--redis", store.url, "--time-scale", "0.2")
        with Started(command, folder, folder):
            state(client, "idle", "ENDED")
            assert diagnosis(store.url) == {}


def test_runs_of_a_dead_worker_and_a_control_that_nobody_received(clock, folder):
    """Ten minutes pass, by the clocks of the server and of the doctor, after a worker was killed."""
    clock.set(0)
    with start_server("valkey", appendonly=True) as server:
        server.stop()
        server._command = [*clock.prefix, *server._command]
        server.restart()
        with redis.Redis.from_url(server.url, decode_responses=True) as client:
            with worker(server, folder, "--no-monitor") as dies:
                push(client, "orphan", "sleeper")
                push(client, "unwanted", "sleeper")
                state(client, "orphan", "RUNNING")
                state(client, "unwanted", "RUNNING")
                dies.end(signal.SIGKILL)
            runs = {task_id: client.hget(task_id, "run") for task_id in ("orphan", "unwanted")}
            assert "PT091" not in diagnosis(server.url, **clock.env)
            unheard(client, server.url)
            clock.set(600)
            found = diagnosis(server.url, **clock.env)
            assert set(found) == {"PT091", "PT093"}
            assert "2 tasks are RUNNING, but their leases were not renewed" in found["PT091"]["what"]
            with worker(server, folder, *target_of(found["PT091"]["fix"]), "--time-scale", "0.1"):
                until(lambda: client.hget("orphan", "run") not in (None, runs["orphan"]), "it is handed on")
                state(client, "orphan", "RUNNING")
                # "Whoever takes the task over obeys it": it is stopped without having run again.
                state(client, "unwanted", "STOPPED")
                assert client.hget("unwanted", "last_run") == runs["unwanted"]
                until(lambda: diagnosis(server.url, **clock.env) == {}, "no problems found")


def test_a_dead_run_of_which_no_registry_and_no_lease_tells(store, client, folder):
    """A client deleted pytask's keys after a kill -9: visible runs are requeued, the other is reported."""
    ids = ("no-entry", "no-lease", "neither")
    with worker(store, folder, "--no-monitor", "--time-scale", "0.1") as dies:
        for task_id in ids:
            push(client, task_id, "sleeper")
            state(client, task_id, "RUNNING")
        dies.end(signal.SIGKILL)
    runs = {task_id: client.hget(task_id, "run") for task_id in ids}
    client.hdel("pytask:runs", "no-entry", "neither")
    client.zrem("pytask:leases", "no-lease", "neither")
    found = diagnosis(store.url)["PT129"]
    assert "1 task is RUNNING" in found["what"]
    assert "'neither'" in found["what"]
    explanation = CliRunner().invoke(main, ["why", "neither", "--redis", store.url]).stdout
    assert "its run has neither a lease nor a registry entry" in explanation
    client.execute_command(*sent_by(found["fix"]))
    with worker(store, folder, "--time-scale", "0.1") as other:
        for task_id in ids:
            until(lambda i=task_id: client.hget(i, "run") not in (None, runs[i]), lambda: other.output)
        until(lambda: diagnosis(store.url) == {}, lambda: diagnosis(store.url))


def unheard(client, url):
    """A stop of a task whose worker is gone: it is reported, and the suggested command explains it."""
    until(lambda: not client.pubsub_numsub("pytask:hint")[0][1], "the server has seen that it left")
    words = ["stop", "unwanted", "--wait", "0.5"]
    shown = CliRunner().invoke(main, [*words, "--redis", url], env={"PYTASK_TIMEOUT": "8"})
    assert shown.exit_code == 1
    assert "[PT086]" in shown.stderr
    assert "no worker" in shown.stdout
    assert client.hget("unwanted", "state") == "RUNNING"
    (word,) = re.findall(r"See `pytask (\w+)`", shown.stderr)
    text = " ".join(explanations()["PT086"].split())
    assert f"`pytask {word}` lists the workers" in text
    assert "the next worker that takes the task over carries it out" in text
    shown = CliRunner().invoke(main, [word, "--redis", url], env={"PYTASK_TIMEOUT": "8"})
    assert shown.exit_code == 0
