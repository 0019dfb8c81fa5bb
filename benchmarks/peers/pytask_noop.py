"""pytask: its own client, for the same producer; the worker is `pytask run`."""

import os

import produce

from pytask import Client

client = Client(os.environ["BENCH_REDIS"])


def enqueue(sent):
    client.start("noop", {"sent": sent})


if __name__ == "__main__":
    produce.main(enqueue)
