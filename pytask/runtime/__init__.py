"""The runtime of a worker: gevent services, one duty per file."""
