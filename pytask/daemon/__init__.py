"""`pytask run`: a worker that owns its process, and the supervisor of several workers."""
