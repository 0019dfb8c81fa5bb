"""`pytask run`: a worker that has the whole process, and the supervisor of several."""
