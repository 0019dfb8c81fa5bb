"""How late this machine wakes a process that asked for nothing but 20 ms of sleep: the tests' own slack."""

import sys
import time

STEP = 0.02


def main():
    with open(sys.argv[1], "a", buffering=1) as file:  # noqa: PTH123
        while True:
            before = time.monotonic()
            time.sleep(STEP)
            late = time.monotonic() - before - STEP
            if late > 0.005:
                file.write(f"{time.monotonic_ns()} {late:.6f}\n")


if __name__ == "__main__":
    main()
