"""Calls tools of `pytask mcp` with the client of the package mcp: `mcp_client.py COMMAND CALLS`, as JSON.

Prints the names of the tools, whether each says that it only reads, and the answer to each call.
"""

import asyncio
import json
import os
import sys

from mcp import Client, StdioServerParameters


async def main():
    command, calls = map(json.loads, sys.argv[1:])
    server = StdioServerParameters(command=command[0], args=command[1:], env=dict(os.environ))
    async with Client(server) as client:
        listed = await client.list_tools()
        answers = []
        for name, arguments in calls:
            found = await client.call_tool(name, arguments)
            answers.append([bool(found.is_error), "".join(part.text for part in found.content)])
    tools = {tool.name: tool.annotations.read_only_hint for tool in listed.tools}
    print(json.dumps({"tools": tools, "answers": answers}))


asyncio.run(main())
