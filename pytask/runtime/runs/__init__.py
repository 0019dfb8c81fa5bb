"""Runs, from the claim to the end: greenlets, threads and programs, logs, and writes to Redis."""
