#!/usr/bin/env bash
# threading.Condition.notify() asks its lock whether it is owned by acquire(blocking=False).  gevent's lock lets
# all other greenlets run after such an acquire that failed ("makes spin locks work"), so under patching each
# notify() is a point where greenlets switch, and where a kill arrives, in the middle of the critical section:
# - queue.Queue.get(): the item is taken off the queue, and lost with the greenlet;
# - Event.set(): the flag is set, and those who wait are never woken.
# patch_all() hides this for the standard queues (since 25.4.1) and Event by classes of its own; with
# queue=False or Event=False, and in every library with conditions of its own, it is there.
# Expected: as documented, notify() does not give the lock away, and set() wakes all that wait.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/v" >/dev/null
"$T/v/bin/pip" install -q gevent==26.9.0 greenlet==3.5.6
cat > "$T/probe.py" <<'PY'
import sys
from gevent import monkey
standard = sys.argv[1] == "standard"
monkey.patch_all(Event=not standard, queue=not standard)
import queue, threading
import gevent
from gevent.event import Event

lost = asleep = 0
for _ in range(100):
    box = queue.Queue()
    first = gevent.spawn(box.get)
    gevent.sleep(0.001)
    box.put("item")
    first.kill(block=False)  # it is woken, and killed in the same turn of the loop
    gevent.sleep(0.005)
    lost += first.value != "item" and box.empty()

    go, event = Event(), threading.Event()
    waiter = gevent.spawn(event.wait)
    setter = gevent.spawn(lambda: (go.wait(), event.set()))
    gevent.sleep(0.001)
    go.set()
    setter.kill(block=False)
    gevent.sleep(0.005)
    asleep += event.is_set() and not waiter.ready()
    waiter.kill()
print(f"{lost} items lost, {asleep} waiters asleep beside a set event")
PY
"$T/v/bin/python" -c 'import sys, gevent, greenlet; print("python", sys.version.split()[0], "gevent", gevent.__version__, "greenlet", greenlet.__version__)'
ours=$("$T/v/bin/python" "$T/probe.py" gevent); theirs=$("$T/v/bin/python" "$T/probe.py" standard)
echo "gevent's classes, of 100: $ours"; echo "the standard ones over gevent's locks, of 100: $theirs"
case "$ours/$theirs" in "0 items lost, 0 w"*/"100 items lost, 100 w"*) ;; *) echo "this has changed"; exit 1 ;; esac
