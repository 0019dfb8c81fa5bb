"""How libraries behave in tasks, measured: `python -m benchmarks.libraries --help`."""
