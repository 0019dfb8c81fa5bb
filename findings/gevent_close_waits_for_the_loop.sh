#!/usr/bin/env bash
# gevent's patched os.close() of a pipe returns at once, but closes the descriptor in a later turn of the
# event loop.  While the loop waits for a timer or for a socket, the peer of the pipe does not see the end of
# file, though os.close() returned long ago: a process that reads "until the other side closes" (a child, a
# native thread in a read) waits for whatever wakes the loop next, for ever if nothing does.
# Expected by the documentation of os.close(): the peer sees the end of file at once.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/v" >/dev/null
"$T/v/bin/pip" install -q gevent==26.9.0 greenlet==3.5.6
cat > "$T/probe.py" <<'PY'
import sys, time
if "patched" in sys.argv:
    from gevent import monkey
    monkey.patch_all()
import os, subprocess

reader, writer = os.pipe()
child = subprocess.Popen(
    [sys.executable, "-c", "import os, time; os.read(0, 1); print(time.monotonic())"],
    stdin=reader, stdout=subprocess.PIPE)
time.sleep(1)  # the child waits for the end of file
os.close(writer)
closed = time.monotonic()
time.sleep(3)  # the loop has nothing to do
seen = float(child.stdout.readline())
child.wait()
print(f"{seen - closed:.1f}")
PY
plain=$("$T/v/bin/python" "$T/probe.py"); patched=$("$T/v/bin/python" "$T/probe.py" patched)
"$T/v/bin/python" -c 'import sys, gevent, greenlet; print("python", sys.version.split()[0], "gevent", gevent.__version__, "greenlet", greenlet.__version__)'
echo "seconds from os.close() until the child sees the end of file: plain $plain, patched $patched"
awk -v a="$plain" -v b="$patched" 'BEGIN { exit !(a < 1 && b >= 2) }' || { echo "this has changed"; exit 1; }
