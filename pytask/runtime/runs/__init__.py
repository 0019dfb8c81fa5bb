"""Runs, from the claim to the end: greenlets, threads and programs, their log, and what Redis is told."""
