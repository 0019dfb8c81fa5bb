"""Benchmarks: `python dev.py bench`, or `python -m benchmarks`.  Figures are ratios from one run."""
