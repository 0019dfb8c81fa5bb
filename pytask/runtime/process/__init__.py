"""The process of a worker: signals, forks, timers, patching, the service manager, log formats."""
