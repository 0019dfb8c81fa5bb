"""The systemd unit, checked by systemd's own tool where it is there; and where the health sockets lie."""

import os
import shutil
import socket
import subprocess
import sys

import pytest
from click.testing import CliRunner

from pytask.cli.main import main
from pytask.daemon import health_socket
from pytask.domain.errors import ConfigError


def test_the_unit_notifies_has_a_watchdog_and_runs_the_target(cli, tmp_path):
    shown = cli("unit", "app.py", "--user", "worker", "--", "--processes", "4", "--name", "two words 100%")
    assert shown.exit_code == 0
    lines = shown.stdout.splitlines()
    assert "Type=notify" in lines
    assert "WatchdogSec=30" in lines
    assert "User=worker" in lines
    assert f"WorkingDirectory={tmp_path}" in lines
    assert f'Environment="PWD={tmp_path}" PYTHONUNBUFFERED=1' in lines
    command = f'{sys.executable} -m pytask run --processes 4 --name "two words 100%%" app.py'
    assert f"ExecStart={command}" in lines
    assert "RestartPreventExitStatus=2 78" in lines


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_systemd_finds_no_fault_in_it(cli, tmp_path):
    made = cli("unit", "package.module:app", "--name", "pytask-test").stdout
    path = tmp_path / "pytask-test.service"
    path.write_text(made)
    found = subprocess.run(
        ["systemd-analyze", "verify", str(path)], capture_output=True, text=True, check=False
    )
    ours = [line for line in found.stderr.splitlines() if "pytask-test" in line]
    assert ours == []


@pytest.mark.parametrize(
    ("target", "missing"),
    [
        ("nofile.py", "nofile.py"), ("nofile.py:app", "nofile.py"), ("nopack.module:app", "nopack.module"),
        ("there.py", ""), ("there.py:app", ""), ("there:app", ""), ("pytask.demo.tasks", ""),
    ],
)  # fmt: skip
def test_a_target_that_is_not_there_is_reported_and_printed_all_the_same(cli, tmp_path, target, missing):
    (tmp_path / "there.py").write_text("raise SystemExit('it is not imported')")
    shown = cli("unit", target, "--folder", tmp_path)
    assert shown.exit_code == 0
    assert f" run {target}\n" in shown.stdout
    said = f"pytask: {missing} not found in {tmp_path}: printing the unit anyway, as it may be for"
    assert shown.stderr == (f"{said} another machine\n" if missing else "")


def test_the_folder_of_the_sockets(monkeypatch, tmp_path):
    for name in ("RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    assert health_socket.folder().name == f"pytask-{os.getuid()}"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert health_socket.folder() == tmp_path / "pytask"
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/a:/run/b")
    assert str(health_socket.folder()) == "/run/a"
    assert str(health_socket.folder("mine")) == "mine"


def test_without_a_folder_for_temporary_files_the_way_out_is_reported():
    env = {
        name: value
        for name, value in os.environ.items()
        if name not in {"RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"}
    }
    limited = f"ulimit -f 0; exec {sys.executable} -m pytask"  # no file takes a byte, so no folder is usable
    for words, way in (("health", "--run-dir"), ("demo", "--data-dir")):
        shown = subprocess.run(
            ["sh", "-c", f"{limited} {words}"], env=env, capture_output=True, text=True, check=False
        )
        assert shown.returncode == 78, shown.stderr
        assert "No usable temporary directory" in shown.stderr
        assert f"Choose one with {way}" in shown.stderr


def test_a_socket_where_nobody_listens_is_no_worker(tmp_path):
    """Of a dead process whose number another has now; beside it, one that does not answer."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / f"{os.getpid()}.sock"))
    words = ["health", "--run-dir", str(tmp_path), "--timeout", "0.1"]
    shown = CliRunner().invoke(main, words)
    assert shown.exit_code == 3
    assert "no worker of this user runs here" in shown.stderr
    (tmp_path / f"{os.getpid()}.sock").unlink()
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(tmp_path / f"{os.getpid()}.sock"))
        hung.listen()
        shown = CliRunner().invoke(main, words)
    assert shown.exit_code == 3
    assert "its event loop did not answer" in shown.stdout


def test_a_folder_that_others_may_write_to_is_refused(monkeypatch, tmp_path):
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "pytask").mkdir()
    (tmp_path / "pytask").chmod(0o777)
    with pytest.raises(ConfigError, match=r"other users may write to .*--run-dir"):
        health_socket.own_socket()
    with pytest.raises(ConfigError, match="too long"):
        health_socket.own_socket(str(tmp_path / ("x" * 100)))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["a.py", "--name", "../../x"], "--name is '../../x'"),
        (["a.py", "--name", ".hidden"], "not begin with a dot"),
        (["a.py", "--user", "me\nExecStartPre=/bin/x"], "--user is"),
        (["a\n[Service]\nUser=root\n.py"], "a line break"),
        (["a.py", "--folder", "/x\nUser=root"], "a line break"),
        (["a.py", "--", "--worker-name=x\nUser=root"], "a line break"),
        (["a.py", "--", "--redis", "redis://:sesame@h/0"], "'redis://***@h/0' contains a password"),
        (["a.py", "--", "--redis=redis://h/0?Password=sesame"], "'redis://h/0?Password=***' contains"),
        (["a.py", "--", "--redis", "me:sesame@h:6379"], "'***@h:6379' contains a password"),
    ],
)
def test_no_directive_no_file_elsewhere_and_no_password_gets_into_a_unit(cli, words, says):
    shown = cli("unit", *words)
    assert (shown.exit_code, shown.stdout) == (78, "")
    assert says in shown.stderr
    assert "sesame" not in shown.stderr


def test_the_name_of_a_unit_is_made_of_the_target(cli, tmp_path):
    (tmp_path / "a b%.py").touch()
    shown = cli("unit", "a b%.py").stdout
    assert "# /etc/systemd/system/pytask-a-b-.service" in shown
    assert "Description=pytask worker of a b%%.py" in shown
