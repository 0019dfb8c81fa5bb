"""The services of a worker, one duty each."""
