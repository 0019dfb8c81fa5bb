"""Steps the wall clock of the Redis server alone: a shim in front of libc, compiled when the run starts."""

import mmap
import shutil
import struct
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("clock.c")


class ServerClock:
    """The offset in seconds that the server's wall clock has; the server is started with `prefix`."""

    def __init__(self, folder):
        self.reason = ""  # why there is none
        self.prefix = []
        compiler = shutil.which("gcc") or shutil.which("cc")
        if compiler is None:
            self.reason = "no C compiler here: the clock of Redis is not stepped"
            return
        library = folder / "clock.so"
        made = subprocess.run(
            [compiler, "-O1", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"],
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            self.reason = f"the clock shim does not compile, the clock of Redis is not stepped: {made.stderr}"
            return
        path = folder / "clock.offset"
        path.write_bytes(bytes(8))
        with path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), 8)
        self.prefix = ["/usr/bin/env", f"LD_PRELOAD={library}", f"CHAOS_CLOCK={path}"]

    @property
    def works(self):
        return bool(self.prefix)

    def set(self, seconds):
        self._page[:8] = struct.pack("d", seconds)
