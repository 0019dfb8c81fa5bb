"""The soak: an hour at the real times with faults, and nothing grows.  See `__main__`."""
