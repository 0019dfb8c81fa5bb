"""Huey: RedisHuey, greenlet workers (the consumer patches the process)."""

import os

from huey import RedisHuey
from mark import mark

huey = RedisHuey("noop", url=os.environ["BENCH_REDIS"])


@huey.task()
def noop(sent):
    mark(sent)


if __name__ == "__main__":
    import produce
    from huey_noop import noop as task  # the worker knows it by this module's name

    produce.main(task)
