"""RQ: its worker forks a process for each job, one at a time."""

import os

from mark import mark
from redis import Redis
from rq import Queue


def noop(sent):
    mark(sent)


if __name__ == "__main__":
    import produce
    from rq_noop import noop as task  # a job is named by its module, which is not __main__

    queue = Queue(connection=Redis.from_url(os.environ["BENCH_REDIS"]))
    produce.main(lambda sent: queue.enqueue(task, sent))
