"""The MCP Python SDK."""

import sys
import time

import anyio
from mcp import ClientSession, StdioServerParameters, stdio_client

from figures import SECONDS, SIZE, FLOOD, print_figures


async def calls(session, outstanding):
    times, begun = [], time.perf_counter()

    async def caller():
        while time.perf_counter() - begun < SECONDS:
            before = time.perf_counter()
            await session.send_ping()
            times.append(time.perf_counter() - before)

    async with anyio.create_task_group() as group:
        for _ in range(outstanding):
            group.start_soon(caller)
    return times, len(times) / (time.perf_counter() - begun)


async def main():
    seen, all_seen = 0, anyio.Event()

    async def on_log(_params):
        nonlocal seen
        seen += 1
        if seen == FLOOD:
            all_seen.set()

    server = StdioServerParameters(command=sys.argv[1], args=sys.argv[2:])
    async with (
        stdio_client(server) as (reading, writing),
        ClientSession(reading, writing, logging_callback=on_log) as session,
    ):
        await session.initialize()
        for _ in range(200):
            await session.send_ping()
        rates = {n: await calls(session, n) for n in (1, 8, 64)}
        large = []
        for _ in range(3):
            before = time.perf_counter()
            await session.call_tool("blob", {"size": SIZE})
            large.append(time.perf_counter() - before)
        before = time.perf_counter()
        await session.call_tool("flood", {"size": FLOOD})
        await all_seen.wait()
        print_figures(rates, large, FLOOD / (time.perf_counter() - before))


anyio.run(main)
