"""What may happen: the rules of a task's life, without Redis, gevent, a clock or a log."""
