"""The producer's side of every Python peer: `fill COUNT` (or `calls`) and `steady RATE SECONDS`.

Both use the peer's one-call way to enqueue, one call after the other, which is what `enqueue(sent)` is.
`fill` prints the seconds it took; the first call, which connects, is not in them.
"""

import asyncio
import inspect
import sys
import time


def main(enqueue, session=None):
    """Run what the command line asks for; `session` is the asynchronous context that async peers need."""
    if inspect.iscoroutinefunction(enqueue):
        asyncio.run(in_session(enqueue, session))
    else:
        gather(work(enqueue))


async def in_session(enqueue, session):
    """The same for a peer whose call is awaited."""
    if session is None:
        await asynchronous(enqueue)
        return
    async with session:
        await asynchronous(enqueue)


async def asynchronous(enqueue):
    """Await each call, and each pause."""
    for step in work(enqueue):
        if isinstance(step, float):
            await asyncio.sleep(step)
        else:
            await step


def gather(steps):
    """Calls are made as the steps are drawn; a number is a pause."""
    for step in steps:
        if isinstance(step, float):
            time.sleep(step)


def work(enqueue):
    """The calls to make, and the pauses between them."""
    mode, *numbers = sys.argv[1:]
    if mode in {"fill", "calls"}:
        yield enqueue(0.0)
        began = time.perf_counter()
        for _ in range(int(numbers[0]) - 1):
            yield enqueue(0.0)
        print(time.perf_counter() - began)
        return
    rate, seconds = float(numbers[0]), float(numbers[1])
    began = time.perf_counter()
    for i in range(int(rate * seconds)):
        yield max(0.0, began + i / rate - time.perf_counter())
        yield enqueue(time.time())
