"""pytask's own client for asyncio, under the same line protocol:  python own.py URL NAMESPACE PARTITIONS."""

import asyncio
import json
import sys

import pytask
from pytask import errors
from pytask.aio import Client
from pytask.client import Event

PATIENCE = 10.0  # seconds for an answer, on a busy machine


class Unsupported(Exception):
    """The client has nothing for that."""


class Own:
    """The verbs."""

    def __init__(self, url, namespace, partitions):
        self._space = (namespace, partitions)
        limits = {"timeout": PATIENCE, "connect_timeout": PATIENCE}
        self._client = Client(url, namespace=namespace, partitions=partitions, **limits)
        self._watches = []

    async def where(self, task_id):
        namespace, partitions = self._space
        return [pytask.namespace_of(namespace, pytask.partition_of(task_id, partitions), partitions)]

    async def start(self, task_id, function, data="null"):
        try:
            await self._client.start(function, json.loads(data), id=task_id)
        except errors.TaskExists:  # an id that came to rest is started again, not made anew
            await self._client.start_again(task_id, json.loads(data))

    async def update(self, task_id, data):
        await self._client.update_data(task_id, json.loads(data))

    async def control(self, task_id, word):
        client = self._client
        verbs = {
            "stop": client.stop,
            "start": client.start_again,
            "reload": client.reload,
            "pause": client.pause,
        }
        await verbs[word](task_id)

    async def get(self, task_id, field):
        try:
            task = await self._client.get(task_id)
        except errors.NoSuchTask:
            return []
        raw = {"data": task.raw_data, "output": task.raw_output}.get(field)
        value = raw.decode() if raw else str(getattr(task, field, ""))
        return [value] if value and not (field in ("data", "output") and not raw) else []

    async def remove(self, task_id):
        try:
            await self._client.remove(task_id)
        except errors.TaskRunning:
            raise Unsupported from None  # it stops a task first, then removes it

    async def watch(self, task_id):
        events = await self._client.watch(None if task_id == "*" else task_id)
        self._watches.append(asyncio.create_task(self._tell(events)))

    async def unwatch(self):
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)
        self._watches = []

    async def _tell(self, events):
        async for event in events:
            if isinstance(event, Event):
                payload = json.dumps({"event": event.name, "data": event.data}, ensure_ascii=False)
                say("event", event.id, payload)
            else:
                say("gap")


def say(*words):
    sys.stdout.write("\t".join(words) + "\n")
    sys.stdout.flush()


def escaped(text):
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")


async def main(url, namespace, partitions):
    own = Own(url, namespace, int(partitions))
    while line := await asyncio.to_thread(sys.stdin.readline):
        verb, *words = line.rstrip("\n").split("\t")
        try:
            answer = await getattr(own, verb)(*words)
        except Unsupported:
            say("unsupported")
        except Exception as error:
            say("error", escaped(f"{type(error).__name__}: {error}"))
        else:
            say("ok", *map(escaped, answer or []))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
