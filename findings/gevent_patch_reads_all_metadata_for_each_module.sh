#!/usr/bin/env bash
# gevent's `monkey.patch_all()` tells each of its steps to listeners that packages may have as entry points, and asks
# importlib.metadata for these anew at every step: 25 times with gevent 26.9 on Python 3.11, although nearly no package
# has one.  Each time Python lists all of sys.path and opens the entry points of every installed distribution.  So what
# a program takes to start grows with what else is installed: 0.13 s of CPU with 125 distributions, where all else of
# the patch takes 0.03 s.
# Expected: one look for all steps, as the answer is the same (gevent/events.py: notify_and_call_entry_points).
# What helps: put the bound `select` of one `importlib.metadata.entry_points()` in the place of that function
# until patch_all() has returned.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/v" >/dev/null
"$T/v/bin/pip" install -q gevent==26.9.0 greenlet==3.5.6
SITE=$("$T/v/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
for i in $(seq 120); do # distributions as pip leaves them
  mkdir "$SITE/dist_$i-1.dist-info"
  printf 'Metadata-Version: 2.1\nName: dist-%s\nVersion: 1\n' "$i" > "$SITE/dist_$i-1.dist-info/METADATA"
  printf '[console_scripts]\ndist-%s = os:getpid\n' "$i" > "$SITE/dist_$i-1.dist-info/entry_points.txt"
done
cat > "$T/probe.py" <<'PY'
import sys, time
from importlib import metadata
from gevent import monkey

opened, asked, read, ask = [], [], metadata.PathDistribution.read_text, metadata.entry_points

def counted(self, name):
    opened.append(name)
    return read(self, name)

def once(**what):
    asked.append(what)
    return ask(**what)

metadata.PathDistribution.read_text, metadata.entry_points = counted, once
if "once" in sys.argv:
    metadata.entry_points = ask().select
began = time.process_time()
monkey.patch_all()
print(len(asked), opened.count("entry_points.txt"), round(time.process_time() - began, 3))
PY
"$T/v/bin/python" -c 'import sys; from importlib.metadata import version; print("python", sys.version.split()[0], "gevent", version("gevent"))'
read -r ASKED OPENED CPU < <("$T/v/bin/python" "$T/probe.py")
echo "as it is:  asked $ASKED times, opened $OPENED files, $CPU s of CPU"
read -r _ FILES LESS < <("$T/v/bin/python" "$T/probe.py" once)
echo "read once: opened $FILES files, $LESS s of CPU"
[ "$ASKED" -gt 10 ] && [ "$OPENED" -gt 1200 ] && [ "$FILES" -lt 200 ] || { echo "this has changed"; exit 1; }
