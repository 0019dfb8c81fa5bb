"""Pages for Prometheus: their text, and how they are served.  Nothing here needs gevent or Redis."""
