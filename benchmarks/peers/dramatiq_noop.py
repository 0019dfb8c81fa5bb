"""Dramatiq: the Redis broker, run by `dramatiq-gevent`."""

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from mark import mark

dramatiq.set_broker(RedisBroker(url=os.environ["BENCH_REDIS"]))


@dramatiq.actor
def noop(sent):
    mark(sent)


if __name__ == "__main__":
    import produce

    produce.main(noop.send)
