"""An address that can never work is refused with what is wrong in it, and is not waited for."""

import asyncio
import re
import socketserver
import threading

import pytest
import trustme

import pytask
import pytask.aio
from pytask.adapters.redis.address import DEFAULT_URL
from pytask.adapters.redis.clients import open_client
from pytask.adapters.redis.errors import translate
from pytask.domain.errors import ConfigError, Unavailable
from tests.support.servers import HOST

AIO = pytest.mark.parametrize("client", [pytask.Client, pytask.aio.Client], ids=["blocking", "asyncio"])
TLS = "rediss://:sesame@h:1/0?"


@AIO
@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://:sesame@h/0?bogus=1", "'bogus' is not an option"),
        ("redis+cluster://:sesame@h:1?bogus=1", "'bogus' is not an option"),
        (TLS + "ssl_cert_reqs=words", "words"),
        (TLS + "ssl_ca_certs=/no/such.pem", "'/no/such.pem' (ssl_ca_certs)"),
        (TLS + "ssl_certfile=/no/cert.pem&ssl_keyfile=/no/key.pem", "'/no/cert.pem' (ssl_certfile)"),
        ("rediss+cluster://h:1?ssl_ca_certs=/no/such.pem", "'/no/such.pem' (ssl_ca_certs)"),
    ],
)
def test_what_no_server_could_mend_is_refused(client, url, says):
    with pytest.raises(ConfigError, match=re.escape(says)) as caught:
        client(url, namespace="{pytask}:")
    assert "sesame" not in str(caught.value)


def test_what_the_library_would_drop_for_a_cluster_is_refused():
    with pytest.raises(ConfigError, match="'ssl_min_version' is not an option of a cluster's address"):
        open_client("rediss+cluster://h:1?ssl_min_version=3")


def test_a_file_that_is_none_is_named(tmp_path):
    (tmp_path / "bad.pem").write_text("no certificate")
    with pytest.raises(ConfigError, match=r"bad\.pem' \(ssl_ca_certs\)"):
        open_client(f"rediss://h/0?ssl_ca_certs={tmp_path / 'bad.pem'}")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "good.pem")
    open_client(f"rediss://h/0?ssl_ca_certs={tmp_path / 'good.pem'}&ssl_cert_reqs=required")


@AIO
def test_an_address_is_taken_from_the_environment(monkeypatch, client):
    def address():
        made = client()._driver._source.connection_pool.connection_kwargs
        return made["host"], made["port"]

    for name in ("PYTASK_REDIS_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    assert f"redis://{':'.join(map(str, address()))}/0" == DEFAULT_URL
    monkeypatch.setenv("REDIS_URL", "redis://second:2")
    assert address() == ("second", 2)
    monkeypatch.setenv("PYTASK_REDIS_URL", "redis://first:1")
    assert address() == ("first", 1)


def test_an_app_takes_its_address_from_the_environment(monkeypatch):
    monkeypatch.setenv("PYTASK_REDIS_URL", "redis://first:1/3")
    assert pytask.PyTask()._backend().describe() == "first:1/3"
    assert pytask.PyTask("redis://own:2/0")._backend().describe() == "own:2/0"


class Nested(socketserver.BaseRequestHandler):
    """Replies within replies, deeper than the library can read."""

    def handle(self):
        self.request.recv(4096)
        self.request.sendall(b"*1\r\n" * 5000 + b":1\r\n")
        self.request.recv(4096)


def test_very_deep_replies_are_those_of_no_redis():
    with socketserver.ThreadingTCPServer((HOST, 0), Nested) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"redis://{HOST}:{server.server_address[1]}/0"
        try:
            with pytest.raises(Unavailable, match="is not Redis"), pytask.Client(url) as client:
                client.count()
            with pytest.raises(Unavailable, match="is not Redis"):
                asyncio.run(pytask.aio.Client(url).count())
        finally:
            server.shutdown()
            thread.join()


FULL = "OOM command not allowed when used memory > 'maxmemory'."


@pytest.mark.parametrize(
    "said",
    [
        "Error running script (call to f_9): @user_script:1: @user_script: 1: -" + FULL,
        f"{FULL} script: 91ad46ae, on @user_script:125.",
        f"{FULL} script: on @user_script:125.",
        FULL.removeprefix("OOM "),
    ],
)
def test_a_refusal_of_a_command_in_a_script_is_said_as_any_other(said):
    from redis.exceptions import OutOfMemoryError

    assert str(translate(OutOfMemoryError(said))) == (
        f"[PT052] Redis refuses: {FULL} Raise maxmemory of the server, or delete finished tasks"
    )


def test_masterdown_is_not_called_clusterdown():
    from redis.exceptions import MasterDownError

    error = translate(
        MasterDownError("Link with MASTER is down and replica-serve-stale-data is set to 'no'.")
    )
    assert "Redis refuses: MASTERDOWN Link" in str(error)
    assert "a replica that has lost its primary" in str(error)
    assert "CLUSTERDOWN" not in str(error)
