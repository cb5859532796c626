"""The websockets package under asyncio: JSON out, JSON in."""

import asyncio
import json
import sys
import time

from websockets.asyncio.client import connect

from figures import SECONDS, print_figures


class Client:
    def __init__(self, socket):
        self.socket = socket
        self.last = 0

    async def send(self, method, params):
        self.last += 1
        message = {"jsonrpc": "2.0", "id": self.last, "method": method, "params": params}
        await self.socket.send(json.dumps(message))

    async def answer(self):
        return json.loads(await self.socket.recv())["result"]

    async def calls(self, outstanding):
        times, begun = [], time.perf_counter()
        while time.perf_counter() - begun < SECONDS:
            before = time.perf_counter()
            for _ in range(outstanding):
                await self.send("echo", [1])
            for _ in range(outstanding):
                await self.answer()
            times.append(time.perf_counter() - before)
        return times, len(times) * outstanding / (time.perf_counter() - begun)


async def main():
    async with connect(sys.argv[1], compression=None) as socket:
        client = Client(socket)
        await client.calls(1)
        print_figures({n: await client.calls(n) for n in (1, 8, 64)})


asyncio.run(main())
