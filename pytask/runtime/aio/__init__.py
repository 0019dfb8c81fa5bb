"""Tasks whose `start()` is a coroutine: one asyncio loop in one native thread of the worker.

The executor and the runs see `runs/coroutine_ports.py`; only these files know asyncio.
"""
