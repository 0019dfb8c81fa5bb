#!/usr/bin/env bash
# Killing the greenlet of a worker of a ThreadPoolExecutor ends another greenlet, without an error.  The work
# item takes the kill (GreenletExit, a BaseException) for the outcome of the call and stores it in the future;
# future.result() raises it in the greenlet that waits; and to gevent a greenlet that ends by GreenletExit was
# successful: no traceback, successful() is True, link_exception() is not called, get() returns a value.
# So a caller that nobody killed disappears in the middle of its function, and everything says that it went
# well.  The worker itself survives the kill that its item swallowed, and takes the next item.
# Expected: the waiting greenlet sees an error that is one (as with concurrent.futures.CancelledError).
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/v" >/dev/null
"$T/v/bin/pip" install -q gevent==26.9.0 greenlet==3.5.6
cat > "$T/probe.py" <<'PY'
from gevent import monkey

monkey.patch_all()
from concurrent.futures import ThreadPoolExecutor

import gevent

started = []
gevent.Greenlet.add_spawn_callback(started.append)
pool = ThreadPoolExecutor(1)
steps, errors = [], []


def caller():
    future = pool.submit(gevent.sleep, 60)
    steps.append("submitted")
    future.result()
    steps.append("went on")


one = gevent.spawn(caller)
one.link_exception(errors.append)
gevent.sleep(0.1)
worker = next(g for g in started if g is not one)
worker.kill(block=False)  # the worker of the pool, not the caller
one.join(timeout=5)
gevent.sleep(0.1)
print(
    f"steps={steps} ready={one.ready()} successful={one.successful()} value={one.value!r}"
    f" errors={len(errors)} worker_dead={worker.dead} next={pool.submit(str, 7).result(timeout=5)}"
)
PY
"$T/v/bin/python" -c 'import sys, gevent, greenlet; print("python", sys.version.split()[0], "gevent", gevent.__version__, "greenlet", greenlet.__version__)'
seen=$(timeout 30 "$T/v/bin/python" "$T/probe.py" 2>"$T/err"); echo "$seen"; echo "standard error: $(wc -c < "$T/err") bytes"
want="steps=['submitted'] ready=True successful=True value=GreenletExit() errors=0 worker_dead=False next=7"
[ "$seen" = "$want" ] && [ ! -s "$T/err" ] || { echo "this has changed"; exit 1; }
