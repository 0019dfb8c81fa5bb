"""The embedded server, with real processes."""

import os
import shutil
import signal
import socket
import subprocess
import sys

import pytest

from pytask.adapters import embedded
from pytask.adapters.embedded import EmbeddedServer, ServerBusy, find_server
from pytask.adapters.redis.backend import RedisBackend
from pytask.domain.errors import ServerFailed, ServerNotFound
from pytask.runtime.settings import Settings
from tests.support.servers import find_binary, free_port


@pytest.fixture(autouse=True)
def bundled_valkey(monkeypatch):
    monkeypatch.setenv("PYTASK_REDIS_SERVER", str(find_binary("valkey")))


def ask(server, line):
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(line.encode() + b"\r\nQUIT\r\n")
        return connection.makefile("rb").read().removesuffix(b"+OK\r\n")


def test_answers_as_soon_as_it_is_started(tmp_path):
    with EmbeddedServer(tmp_path / "data") as server:
        assert server.url == f"redis://127.0.0.1:{server.port}/0"
        assert ask(server, "PING") == b"+PONG\r\n"
        assert b"noeviction" in ask(server, "CONFIG GET maxmemory-policy")
        pid = server.pid
        server.start()
        assert server.pid == pid
    assert server.pid is None
    with pytest.raises(ConnectionRefusedError):
        ask(server, "PING")


def test_data_survives_a_restart(tmp_path):
    folder = tmp_path / "a folder with spaces, and é"
    with EmbeddedServer(folder) as server:
        ask(server, "SET k kept")
    with EmbeddedServer(folder) as server:
        assert ask(server, "GET k") == b"$4\r\nkept\r\n"


def test_its_settings_are_no_risk(tmp_path):
    with EmbeddedServer(tmp_path) as server:
        assert RedisBackend(server.url).risks(Settings().max_data) == []


def test_is_restarted_by_the_same_object_on_its_fixed_port(tmp_path):
    port = free_port()
    server = EmbeddedServer(tmp_path, port=port)
    for _ in range(2):
        with server:
            assert server.port == port
            assert ask(server, "PING") == b"+PONG\r\n"


CTRL_C = """
import os, signal, sys
from pathlib import Path
import redis
from pytask.adapters.embedded import EmbeddedServer
signal.signal(signal.SIGINT, lambda *_: None)
with EmbeddedServer(Path(sys.argv[1])) as server:
    os.killpg(0, signal.SIGINT)
    print(redis.Redis(port=server.port).ping(), os.getpgid(server.pid) == server.pid)
"""


def test_ctrl_c_in_our_terminal_does_not_reach_it(tmp_path):
    command = [sys.executable, "-c", CTRL_C, str(tmp_path)]
    # A session of its own, or the signal would end the tests as well.
    done = subprocess.run(command, check=True, capture_output=True, timeout=30, start_new_session=True)
    assert done.stdout == b"True True\n"


def test_a_folder_in_use_is_refused_and_the_holder_named(tmp_path):
    with EmbeddedServer(tmp_path) as server:
        with pytest.raises(ServerBusy, match=f"pid {server.pid} at {server.url}") as caught:
            EmbeddedServer(tmp_path).start()
        assert (caught.value.pid, caught.value.url) == (server.pid, server.url)
    with EmbeddedServer(tmp_path) as next_server:
        assert ask(next_server, "PING") == b"+PONG\r\n"


LAUNCHER_DIES = """
import os, signal, sys
from pathlib import Path
from pytask.adapters.redis.backend import RedisBackend
from pytask.adapters.embedded import EmbeddedServer
EmbeddedServer(Path(sys.argv[1])).start()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_server_that_outlives_its_launcher_keeps_the_folder(tmp_path):
    subprocess.run([sys.executable, "-c", LAUNCHER_DIES, str(tmp_path)], check=False, timeout=30)
    with pytest.raises(ServerBusy) as caught:
        EmbeddedServer(tmp_path).start()
    os.kill(caught.value.pid, signal.SIGTERM)


def test_a_server_that_was_killed_leaves_the_folder_free(tmp_path):
    server = EmbeddedServer(tmp_path)
    server.start()
    ask(server, "SET k kept")
    os.kill(server.pid, signal.SIGKILL)
    server._process.wait()
    with EmbeddedServer(tmp_path) as successor:
        assert ask(successor, "GET k") == b"$4\r\nkept\r\n"


def test_an_early_exit_shows_the_log(tmp_path):
    with EmbeddedServer(tmp_path):
        pass
    manifest = next(tmp_path.glob("appendonlydir/*.manifest"))
    manifest.write_text("nonsense\n")
    server = EmbeddedServer(tmp_path)
    with pytest.raises(ServerFailed, match=r"(?s)ended at once.*server\.log.*nonsense"):
        server.start()
    assert server.pid is None


def test_a_fixed_port_that_is_taken_is_an_error(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        server = EmbeddedServer(tmp_path, port=taken.getsockname()[1])
        with pytest.raises(ServerFailed, match="Address already in use"):
            server.start()


def test_a_chosen_port_that_was_taken_meanwhile_is_replaced(tmp_path, monkeypatch):
    with EmbeddedServer(tmp_path / "other") as other:
        free, taken = embedded._free_port, [other.port]
        monkeypatch.setattr(embedded, "_free_port", lambda: taken.pop() if taken else free())
        with EmbeddedServer(tmp_path / "ours") as server:
            assert server.port != other.port
            assert f"process_id:{server.pid}".encode() in ask(server, "INFO server")


def test_a_missing_server_names_the_ways_out(monkeypatch):
    monkeypatch.delenv("PYTASK_REDIS_SERVER")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(embedded, "find_spec", lambda _name: None)
    with pytest.raises(ServerNotFound, match=r"(?s)pytaskd\[embedded\].*apt.*brew.*PYTASK_REDIS_SERVER"):
        find_server()


def test_a_variable_that_points_nowhere_is_named(monkeypatch):
    monkeypatch.setenv("PYTASK_REDIS_SERVER", "/no/such/server")
    with pytest.raises(ServerNotFound, match=r"\$PYTASK_REDIS_SERVER is '/no/such/server'"):
        find_server()


def test_looks_on_path_before_the_bundled_one_and_keeps_the_symlink(monkeypatch, tmp_path):
    monkeypatch.delenv("PYTASK_REDIS_SERVER")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server() == find_binary("valkey")
    for name in ("valkey-server", "redis-server"):
        (tmp_path / name).symlink_to(shutil.which("true", path="/usr/bin:/bin"))
        assert find_server() == tmp_path / name
