# ruff: noqa: E402 - patching comes first
"""A program for the tests of the fork server: it says what it was given, and ends as it is asked to."""

from gevent import monkey

monkey.patch_all()

import os
import sys

import gevent


def main():
    gevent.sleep(0)  # on an event loop of its own
    own = os.getsid(0) == os.getpid()
    print(sys.argv[1:], os.environ.get("GIVEN"), os.environ.get("PYTHONHASHSEED"), own, flush=True)
    match sys.argv[1:]:
        case ["exit", code]:
            sys.exit(int(code))
        case ["stay"]:
            gevent.sleep(1000)


if __name__ == "__main__":
    main()
