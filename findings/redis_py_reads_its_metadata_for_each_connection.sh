#!/usr/bin/env bash
# redis-py tells the server its own version (CLIENT SETINFO) and takes it from the metadata of its distribution: it
# looks for them on the disk and parses the whole file, description included, each time that a connection object is
# made, unless the pool has a `driver_info`.  `Redis(host, port)` gives its pool one; `Redis.from_url(...)` and
# `ConnectionPool.from_url(...)` do not.  Read from the disk while the event loop stands: under gevent and asyncio all
# other greenlets and coroutines wait for it, again for each connection that is opened anew.
# Seen with redis 8.1.0 and 7.2.0 on Python 3.11: 100 connections of a pool from a URL open the file 100 times and take
# twenty to forty times as long to make as those of a pool with a `driver_info`; redis 7.0.1 does not.
# Expected: once a process, as the version of a package that is imported does not change (redis/driver_info.py).
# What helps: one `redis.driver_info.DriverInfo()` for all pools, as the argument `driver_info` of `from_url`.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
cat > "$T/probe.py" <<'PY'
import time
from importlib import metadata
import redis

opened, read = [], metadata.PathDistribution.read_text

def counted(self, name):
    opened.append(name)
    return read(self, name)

metadata.PathDistribution.read_text = counted

def made(**more):
    pool = redis.ConnectionPool.from_url("redis://127.0.0.1:6379/0", **more)
    opened.clear()
    began = time.perf_counter()
    for _ in range(100):
        pool.make_connection()  # connects to nothing yet
    return opened.count("METADATA"), (time.perf_counter() - began) * 10

files, each = made()
try:
    from redis.driver_info import DriverInfo
except ImportError:
    print("redis", redis.__version__, "opens", files, "files for 100 connections")
    raise SystemExit(files != 0)
less, quick = made(driver_info=DriverInfo())
print("redis", redis.__version__, "opens", files, "files for 100 connections,", round(each, 3), "ms each;",
      "with a driver_info", less, "and", round(quick, 3), "ms")
raise SystemExit(not (files == 100 and less == 0 and each > 5 * quick))
PY
for VERSION in 7.0.1 7.2.0 8.1.0; do
  python3 -m venv "$T/$VERSION" >/dev/null
  "$T/$VERSION/bin/pip" install -q "redis==$VERSION"
  "$T/$VERSION/bin/python" "$T/probe.py" || { echo "this has changed"; exit 1; }
done
