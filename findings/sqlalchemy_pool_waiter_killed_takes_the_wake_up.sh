#!/usr/bin/env bash
# Two greenlets wait for the one connection of a SQLAlchemy QueuePool.  The first is killed in the turn of
# gevent's event loop in which the connection comes back.  The second then waits for its whole pool_timeout
# (30 s by default), though the connection lies in the pool: threading.Condition.notify() gave the wake-up to
# the waiter that died, and nobody passes it on.  gevent's own queue does.
# Expected: the connection is free, so the second waiter gets it at once.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/v" >/dev/null
"$T/v/bin/pip" install -q gevent==26.9.0 greenlet==3.5.6 SQLAlchemy==2.1.9
cat > "$T/probe.py" <<'PY'
from gevent import monkey
monkey.patch_all()
import queue, sqlite3, sys, time
import gevent
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

pool = QueuePool(lambda: sqlite3.connect(":memory:"), pool_size=1, max_overflow=0, timeout=3)

def second():
    began = time.monotonic()
    try:
        pool.connect().close()
        return f"got it after {time.monotonic() - began:.1f} s"
    except PoolTimeout:
        return f"TimeoutError, {pool.checkedin()} connection in the pool"

def round_of(kill):
    held = pool.connect()
    waiters = [gevent.spawn(pool.connect), gevent.spawn(second)]
    gevent.sleep(0.2)
    if kill:
        waiters[0].kill(block=False)  # it dies in this turn of the loop, and is not asked again
    held.close()
    if not kill:
        waiters[0].link(lambda first: first.value.close())
    return waiters[1].get(timeout=10)

print("nobody killed: ", alive := round_of(False))
print("first waiter killed:", lost := round_of(True))

mine = queue.Queue()
first, other = gevent.spawn(mine.get), gevent.spawn(mine.get)
gevent.sleep(0.2)
first.kill(block=False)
mine.put("item")
print("the same with gevent's queue: the second got", other.get(timeout=3))
sys.exit(not ("0." in alive and "3." in lost))
PY
"$T/v/bin/python" -c 'import sys, gevent, greenlet, sqlalchemy as s; print("python", sys.version.split()[0], "gevent", gevent.__version__, "greenlet", greenlet.__version__, "SQLAlchemy", s.__version__)'
"$T/v/bin/python" "$T/probe.py" || { echo "this has changed"; exit 1; }
