#!/usr/bin/env bash
# pymemcache's PooledClient never gets back the connection of a greenlet that was killed during a call.  The pool
# looks for Exception when a call fails, and gevent's GreenletExit (like KeyboardInterrupt and SystemExit) is a
# BaseException: the connection is neither released nor destroyed.  It stays open, and counts as used for good, so after
# `max_pool_size` such calls each further one raises "RuntimeError: Too many objects", though nobody uses any.
# Expected: the slot is free again, as after any other error (pymemcache/pool.py: get_and_release).
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/v" >/dev/null
"$T/v/bin/pip" install -q gevent==26.9.0 greenlet==3.5.6 pymemcache==4.0.0
cat > "$T/probe.py" <<'PY'
from gevent import monkey
monkey.patch_all()
import sys, time
import gevent
from gevent.server import StreamServer
from pymemcache.client.base import PooledClient

def memcached(line, _):
    file = line.makefile("rwb")
    for command in file:
        verb, key = command.split()[:2]
        gevent.sleep(5 if key == b"slow" else 0)
        file.write(b"VALUE %s 0 2\r\nhi\r\nEND\r\n" % key)
        file.flush()

def outcome(error):
    client = PooledClient(server.address, max_pool_size=2, timeout=5)
    for _ in range(2):
        asking = gevent.spawn(client.get, "slow")
        gevent.sleep(0.2)
        asking.kill(error)
    try:
        return client.get("quick")
    except RuntimeError as found:
        return f"RuntimeError: {found}"

server = StreamServer(("127.0.0.1", 0), memcached)
server.start()
sys.stderr = open("/dev/null", "w")  # gevent prints the first error of each greenlet
print("after two calls that failed with ConnectionError:", failed := outcome(ConnectionError("cut")))
print("after two calls whose greenlets were killed:", killed := outcome(gevent.GreenletExit()))
sys.exit(not (failed == b"hi" and killed == "RuntimeError: Too many objects, 2 >= 2"))
PY
"$T/v/bin/python" -c 'import sys, gevent, greenlet, pymemcache as p; print("python", sys.version.split()[0], "gevent", gevent.__version__, "greenlet", greenlet.__version__, "pymemcache", p.__version__)'
"$T/v/bin/python" "$T/probe.py" || { echo "this has changed"; exit 1; }
