"""TLS in front of a server that was built without it: a process that takes TLS and passes plain bytes on.

python -m tests.support.tls TARGET_PORT CERTIFICATE KEY [AUTHORITY OF CLIENTS]     prints its port
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import trustme

ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def tls_front(
    target_port: int, folder: Path, *, name: str = "127.0.0.1", of_clients: bool = False
) -> Iterator[tuple[int, Path]]:
    """(port, path of the authority's certificate) of a TLS listener for `target_port`.

    Its certificate is for `name`.  With `of_clients` it asks for one in return; `client.pem` and
    `client-key.pem` in the folder are such a one.
    """
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "authority.pem")
    leaf = authority.issue_cert(name)
    client = authority.issue_cert("worker@example.org")
    client.private_key_pem.write_to_path(folder / "client-key.pem")
    client.cert_chain_pems[0].write_to_path(folder / "client.pem")
    leaf.private_key_pem.write_to_path(folder / "key.pem")
    for blob in leaf.cert_chain_pems:
        blob.write_to_path(folder / "certificate.pem", append=True)
    command = [sys.executable, "-m", "tests.support.tls", str(target_port)]
    files = [str(folder / "certificate.pem"), str(folder / "key.pem")]
    files += [str(folder / "authority.pem")] if of_clients else []
    process = subprocess.Popen(command + files, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        yield int(process.stdout.readline()), folder / "authority.pem"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def serve(target_port: int, certificate: str, key: str, of_clients: str | None = None) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=of_clients)
    context.load_cert_chain(certificate, key)
    if of_clients:
        context.verify_mode = ssl.CERT_REQUIRED
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        raw, _ = listener.accept()
        threading.Thread(target=carry, args=(context, raw, target_port), daemon=True).start()


def carry(context: ssl.SSLContext, raw: socket.socket, target_port: int) -> None:
    with contextlib.suppress(OSError):
        client = context.wrap_socket(raw, server_side=True)
        server = socket.create_connection(("127.0.0.1", target_port))
        for source, sink in ((client, server), (server, client)):
            threading.Thread(target=copy, args=(source, sink), daemon=True).start()


def copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(65536):
            sink.sendall(chunk)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    serve(int(sys.argv[1]), *sys.argv[2:])
