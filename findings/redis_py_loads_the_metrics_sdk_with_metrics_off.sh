#!/usr/bin/env bash
# redis-py 8.1 imports OpenTelemetry's SDK for metrics with every `import redis` where it is installed, for instance
# because a program sends traces.  Its own metrics are off unless get_observability_instance().init() turns them on, and
# nothing of the SDK is used before.  Each process pays for it: some 70 modules more, among them psutil where that is
# installed; a third more CPU and 3 MB more memory of an import, also in a command that only sends a PING.
# Expected: an import in init(), or where a provider is asked for (redis/observability/providers.py imports MeterProvider
# for annotations and one check).  Two environments, the second has opentelemetry-sdk as well.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
for kind in without with; do
  python3 -m venv "$T/$kind" >/dev/null
  "$T/$kind/bin/pip" install -q redis==8.1.0
done
"$T/with/bin/pip" install -q opentelemetry-sdk==1.45.2 psutil
cat > "$T/probe.py" <<'PY'
import sys, time
began = time.process_time()
import redis
took = time.process_time() - began
from redis.observability.providers import get_observability_instance
sdk = sorted(name for name in sys.modules if name.startswith(("opentelemetry.sdk", "psutil")))
pages = int(open("/proc/self/statm").read().split()[1])
off = get_observability_instance().get_provider_manager() is None
print(len(sys.modules), len(sdk), f"{pages * 4096 / 1e6:.1f}", f"{took:.3f}", off)
PY
"$T/with/bin/python" -c 'import sys; from importlib.metadata import version as v; print("python", sys.version.split()[0], "redis", v("redis"), "opentelemetry-sdk", v("opentelemetry-sdk"))'
"$T/without/bin/python" "$T/probe.py" >/dev/null; "$T/with/bin/python" "$T/probe.py" >/dev/null # bytecode, files
read -r MODULES SDK MB CPU _ < <("$T/without/bin/python" "$T/probe.py")
echo "without the SDK: $MODULES modules, $MB MB, $CPU s of CPU"
read -r MORE LOADED MB CPU OFF < <("$T/with/bin/python" "$T/probe.py")
echo "with it:         $MORE modules ($LOADED of the SDK), $MB MB, $CPU s of CPU; metrics are off: $OFF"
[ "$SDK" = 0 ] && [ "$LOADED" -gt 20 ] && [ "$OFF" = True ] || { echo "this has changed"; exit 1; }
