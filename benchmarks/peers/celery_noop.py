"""Celery: no result backend (its default), gevent pool."""

import os

from celery import Celery
from mark import mark

app = Celery("celery_noop", broker=os.environ["BENCH_REDIS"])


@app.task
def noop(sent):
    mark(sent)


if __name__ == "__main__":
    import produce

    produce.main(noop.delay)
