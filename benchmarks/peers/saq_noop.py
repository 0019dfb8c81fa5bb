"""SAQ: a Redis queue with hiredis."""

import os

from mark import mark
from saq import Queue

queue = Queue.from_url(os.environ["BENCH_REDIS"])


async def noop(ctx, *, sent):
    mark(sent)


settings = {
    "queue": queue,
    "functions": [noop],
    "concurrency": int(os.environ.get("BENCH_CONCURRENCY", "10")),
}


async def enqueue(sent):
    await queue.enqueue("noop", sent=sent)


if __name__ == "__main__":
    import produce

    produce.main(enqueue)
