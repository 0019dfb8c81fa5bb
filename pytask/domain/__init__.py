"""The rules of a task's lifecycle, without Redis, gevent, a clock or a log."""
