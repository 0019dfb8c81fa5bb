"""Simulated worlds: pytask's own runtime on virtual time, over the in-memory twin.  One seed, one world.

`python -m tests.simulation --seed N -v` replays a world; `--worlds N --jobs J` runs many.
"""
