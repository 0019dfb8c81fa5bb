"""A small streaming API for examples/agents.py: it answers each turn with five words, one after the other.

    python examples/local_model.py [PORT [SECONDS]]

`GET /turns` says how many answers were complete, by conversation.
"""

import asyncio
import json
import sys
from collections import Counter

PORT = int(sys.argv[1]) if len(sys.argv) > 1 else 8001
PAUSE = float(sys.argv[2]) if len(sys.argv) > 2 else 0.2  # seconds between two words
WORDS = ("well", "then", "let", "us", "see")
complete: Counter[str] = Counter()


async def serve(reader, writer):
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        if head.startswith("GET /turns"):
            writer.write(json.dumps(complete).encode())
            return
        size = next(
            int(line.split(":")[1]) for line in head.splitlines() if line.startswith("Content-Length")
        )
        asked = json.loads(await reader.readexactly(size))
        for word in (*WORDS, str(asked["turn"])):
            writer.write(f"data: {word}\n\n".encode())
            await writer.drain()
            await asyncio.sleep(PAUSE)
        complete[asked["conversation"]] += 1
    except (ConnectionError, asyncio.IncompleteReadError):
        pass  # the agent was stopped
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", PORT, backlog=2000)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


asyncio.run(main())
