#!/usr/bin/env bash
# In a process with gevent's monkey.patch_all(), sync_to_async() of asgiref, awaited in an asyncio loop of a
# native thread (here of gevent's own thread pool), answers the first call of the process and no other one: the
# second await never returns, nor does any later one, in that thread, in another one or in the main thread.
# All share one ThreadPoolExecutor, made when asgiref is imported; its queue is gevent's SimpleQueue, which wakes
# its reader from the hub of the thread where it was made: "Can only use Waiter.switch method from the Hub
# greenlet" is printed by the hub of the main thread, and the caller sees nothing.
# Unpatched it works; and patched, too, in a ThreadSensitiveContext of the loop, which makes an executor there.
# Expected by the documentation of asgiref: without a sync caller above it, sync code runs in "a dedicated single
# sub-thread", "one after the other".  Neither it nor the documentation of gevent's queues tells of a limit.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/v" >/dev/null
"$T/v/bin/pip" install -q gevent==26.9.0 greenlet==3.5.6 asgiref==3.13.0
cat > "$T/probe.py" <<'PY'
import sys
from gevent import monkey
if sys.argv[1] == "patched":
    monkey.patch_all()
import asyncio, contextlib, os
import gevent
from asgiref.sync import ThreadSensitiveContext, sync_to_async


async def ask(context):
    found = []
    async with context:
        for _ in range(2):
            try:
                found.append(await asyncio.wait_for(sync_to_async(int)(), 5))
            except asyncio.TimeoutError:
                found.append("no answer")
    return found


def in_a_thread(context):
    return gevent.get_hub().threadpool.spawn(lambda: asyncio.run(ask(context))).get(timeout=30)


own = in_a_thread(ThreadSensitiveContext())
first = in_a_thread(contextlib.nullcontext())
second = in_a_thread(contextlib.nullcontext())
main = asyncio.run(ask(contextlib.nullcontext()))
print(f"own context {own}, one thread {first}, then {second}, then the main thread {main}")
sys.stdout.flush()
os._exit(0)  # what waits does so for ever
PY
"$T/v/bin/python" -c 'import sys, importlib.metadata as m; print("python", sys.version.split()[0], "gevent", m.version("gevent"), "asgiref", m.version("asgiref"))'
plain=$(timeout 120 "$T/v/bin/python" "$T/probe.py" plain); echo "plain:   $plain"
patched=$(timeout 120 "$T/v/bin/python" "$T/probe.py" patched 2>"$T/err"); echo "patched: $patched"
grep -m1 AssertionError "$T/err" || true
n="'no answer'"
[ "$plain" = "own context [0, 0], one thread [0, 0], then [0, 0], then the main thread [0, 0]" ] \
  && [ "$patched" = "own context [0, 0], one thread [0, $n], then [$n, $n], then the main thread [$n, $n]" ] \
  || { echo "this has changed"; exit 1; }
