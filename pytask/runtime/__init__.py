"""When it happens: the gevent services of a worker, one short file a duty."""
