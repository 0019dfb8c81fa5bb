"""taskiq-redis: the stream broker that its documentation shows first; $BENCH_BROKER names another."""

import os

import taskiq_redis
from mark import mark

broker = getattr(taskiq_redis, os.environ.get("BENCH_BROKER", "RedisStreamBroker"))(
    url=os.environ["BENCH_REDIS"]
)


@broker.task
async def noop(sent: float) -> None:
    mark(sent)


class Producer:
    async def __aenter__(self):
        await broker.startup()

    async def __aexit__(self, *_exception):
        await broker.shutdown()


async def enqueue(sent):
    await task.kiq(sent)


if __name__ == "__main__":
    import produce
    from taskiq_noop import broker  # the worker knows it by this module's name
    from taskiq_noop import noop as task

    produce.main(enqueue, Producer())
