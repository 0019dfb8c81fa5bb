#!/usr/bin/env bash
# pexpect's PopenSpawn reads nothing in a process with gevent's monkey.patch_all(): expect(EOF) returns at once, with an
# empty `before`, while the program still runs.  gevent's subprocess makes the pipes of a child non-blocking; PopenSpawn
# reads the descriptor by os.read() in a thread, takes the BlockingIOError for the end of the file, and logs nothing.
# Expected: the output of the program, as without gevent (pexpect/popen_spawn.py: _read_incoming).
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/v" >/dev/null
"$T/v/bin/pip" install -q gevent==26.9.0 greenlet==3.5.6 pexpect==4.9.0
cat > "$T/probe.py" <<'PY'
import sys
from gevent import monkey
if sys.argv[1] == "gevent":
    monkey.patch_all()
import pexpect
from pexpect.popen_spawn import PopenSpawn

child = PopenSpawn(["sh", "-c", "sleep 1; echo hello"], encoding="utf-8", timeout=10)
child.expect(pexpect.EOF)
print(f"{sys.argv[1]}: {child.before!r}, the program has ended: {child.proc.poll() is not None}")
PY
"$T/v/bin/python" -c 'import sys, gevent, greenlet, pexpect as p; print("python", sys.version.split()[0], "gevent", gevent.__version__, "greenlet", greenlet.__version__, "pexpect", p.__version__)'
for how in plain gevent; do "$T/v/bin/python" "$T/probe.py" "$how"; done | tee "$T/out"
grep -q "^plain: 'hello.n'" "$T/out" && grep -qx "gevent: '', the program has ended: False" "$T/out" ||
  { echo "this has changed"; exit 1; }
