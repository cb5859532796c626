"""The MCP Python SDK."""

import os
import sys

import anyio
from mcp import ClientSession, StdioServerParameters, stdio_client


async def main():
    server = StdioServerParameters(command=sys.argv[1], args=sys.argv[2:], env=dict(os.environ))
    async with stdio_client(server) as (reading, writing), ClientSession(reading, writing) as session:
        await session.initialize()
        print("ready", flush=True)
        if (await anyio.to_thread.run_sync(sys.stdin.readline)).strip() != "close":
            sys.stdout.flush()
            os._exit(0)


anyio.run(main)
