"""Arq: results kept for an hour (its default)."""

import os

from arq import create_pool
from arq.connections import RedisSettings
from mark import mark

SETTINGS = RedisSettings.from_dsn(os.environ["BENCH_REDIS"])


async def noop(ctx, sent):
    mark(sent)


class WorkerSettings:
    functions = [noop]  # noqa: RUF012 - as its documentation writes it
    redis_settings = SETTINGS
    max_jobs = int(os.environ.get("BENCH_CONCURRENCY", "10"))


class Producer:
    async def __aenter__(self):
        self.pool = await create_pool(SETTINGS)

    async def __aexit__(self, *_exception):
        await self.pool.aclose()

    async def enqueue(self, sent):
        await self.pool.enqueue_job("noop", sent)


if __name__ == "__main__":
    import produce

    producer = Producer()
    produce.main(producer.enqueue, producer)
