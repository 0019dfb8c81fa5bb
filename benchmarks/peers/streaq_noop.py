"""streaQ: results kept (its default)."""

import os

from mark import mark
from streaq import Worker

worker = Worker(
    redis_url=os.environ["BENCH_REDIS"], concurrency=int(os.environ.get("BENCH_CONCURRENCY", "16"))
)


@worker.task
async def noop(sent: float) -> None:
    mark(sent)


async def enqueue(sent):
    await task.enqueue(sent)


if __name__ == "__main__":
    import produce
    from streaq_noop import noop as task  # the worker knows it by this module's name
    from streaq_noop import worker

    produce.main(enqueue, worker)
