#!/usr/bin/env bash
# PyMySQL 1.2 makes an SSL context for every connection, before it knows whether the server speaks TLS, and loads all
# certificate authorities of the system into it.  They are never used: without `ssl_ca` the context verifies nothing.
# It takes 15 to 80 ms of CPU for each connection, in one call of C: twenty greenlets that connect at the same time hold
# gevent's loop for a second.  ssl_disabled=True, or one SSLContext of the program for all (`ssl=`), does without.
# Expected: no authorities for a context with CERT_NONE (pymysql/connections.py: _create_ssl_ctx).
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/v" >/dev/null
"$T/v/bin/pip" install -q PyMySQL==1.2.4 mysql-mimic==3.0.5
cat > "$T/probe.py" <<'PY'
import asyncio, ssl, sys, threading
import pymysql
from mysql_mimic import MysqlServer

server, loop = MysqlServer(), asyncio.new_event_loop()  # without `ssl`: it does not offer TLS
threading.Thread(target=loop.run_forever, daemon=True).start()
asyncio.run_coroutine_threadsafe(server.start_server(host="127.0.0.1", port=0), loop).result()
port = server._server.sockets[0].getsockname()[1]
made = []

def default_context(*words, make=ssl.create_default_context, **named):
    made.append(context := make(*words, **named))  # without cafile, capath or cadata it loads those of the system
    assert not any({"cafile": None, "capath": None, "cadata": None, **named}.values())
    return context

ssl.create_default_context = default_context

def connected(**options):
    made.clear()
    for _ in range(5):
        pymysql.connect(host="127.0.0.1", port=port, user="root", **options).close()
    return len(made)

print("5 connections to a server without TLS: the authorities were loaded", found := connected(), "times")
print("into contexts of:", {context.verify_mode.name for context in made}, made[0].cert_store_stats())
print("with ssl_disabled=True:", without := connected(ssl_disabled=True), "times")
sys.exit(not (found == 5 and without == 0))
PY
"$T/v/bin/python" -c 'import sys; from importlib.metadata import version; print("python", sys.version.split()[0], "PyMySQL", version("PyMySQL"))'
"$T/v/bin/python" "$T/probe.py" || { echo "this has changed"; exit 1; }
