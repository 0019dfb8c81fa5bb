"""The process around a worker: signals, forks, timers, patching, the service manager, log lines."""
