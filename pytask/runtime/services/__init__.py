"""The services of a worker, one duty each: they wait, look, and call the executor of the runs."""
