#!/usr/bin/env bash
# watchdog's Observer sees no file event in a process with gevent's monkey.patch_all(): its thread ends with a
# TypeError at the first event, and the observer still says that it is alive.  Since 25.4.1 gevent replaces
# queue.Queue too; its `maxsize` of an unbounded queue is None, where the standard library has 0, and the queue
# of watchdog, a subclass, compares it with 0.  With patch_all(queue=False) the events come.
# Expected: `maxsize` is a documented argument with the default 0, and can be read as such.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/v" >/dev/null
"$T/v/bin/pip" install -q gevent==26.9.0 greenlet==3.5.6 watchdog==7.1.0
cat > "$T/probe.py" <<'PY'
import sys
from gevent import monkey
monkey.patch_all(queue=sys.argv[1] == "on")
import os, queue, tempfile, time
from watchdog.events import FileSystemEventHandler
from watchdog.observers import Observer

seen = []

class Handler(FileSystemEventHandler):
    def on_any_event(self, event):
        seen.append(event)

with tempfile.TemporaryDirectory() as folder:
    observer = Observer()
    observer.schedule(Handler(), folder)
    observer.start()
    time.sleep(0.5)
    open(os.path.join(folder, "file"), "w").close()
    time.sleep(2)
    print(f"queue={sys.argv[1]}: maxsize {queue.Queue().maxsize}, alive {observer.is_alive()}, events: {bool(seen)}")
    observer.stop()
PY
"$T/v/bin/python" -c 'import sys, gevent, importlib.metadata as m; print("python", sys.version.split()[0], "gevent", gevent.__version__, "watchdog", m.version("watchdog"))'
on=$("$T/v/bin/python" "$T/probe.py" on 2>"$T/err" || true); off=$("$T/v/bin/python" "$T/probe.py" off 2>/dev/null || true)
echo "$on"; tail -1 "$T/err"; echo "$off"
case "$on/$off" in *"alive True, events: False"/*"events: True") ;; *) echo "this has changed"; exit 1 ;; esac
