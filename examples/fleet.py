#!/usr/bin/env python3
"""fleet.py SECONDS SEED STDIO_SERVER LISTENING_SERVER [ARGUMENT...]: fleet.c for asyncio.

fleet.py 10 1 target/debug/examples/demo_server target/debug/examples/misbehave_ws upgrade echo-loop
"""

import asyncio
import os
import random
import resource
import signal
import sys
import time
from typing import List, Optional

import libleash

STDIO, LISTENERS, EACH = 100, 10, 10
CONNECTIONS = STDIO + LISTENERS * EACH


class Member:
    """A connection with one call under way at any time, until it ends."""

    def __init__(self, client: libleash.AsyncClient, listener: Optional["Member"] = None) -> None:
        self.client = client
        self.listener = listener
        self.is_doomed = False
        self.calls = 0
        self.task: "asyncio.Task[None]"

    async def open(self) -> "Member":
        await self.client.open()
        self.task = asyncio.create_task(self._work())
        return self

    async def _work(self) -> None:
        try:
            while True:
                assert await self.client.call("echo", [self.calls]) == [self.calls]
                self.calls += 1
        except libleash.ClosedError:
            await self.client.close()


async def url_of(client: libleash.AsyncClient) -> str:
    """What a listening server prints first."""
    async for event in client:
        if isinstance(event, libleash.Noise):
            return event.text
    raise RuntimeError("it did not say where it listens")


async def fleet(seconds: float, seed: int, stdio: str, listening: List[str]) -> bool:
    began = time.monotonic()
    # What listens would not end with its stdin.
    listeners = [Member(libleash.AsyncClient(listening, exit_after=0)) for _ in range(LISTENERS)]
    await asyncio.gather(*(listener.client.open() for listener in listeners))
    urls = await asyncio.gather(*(url_of(listener.client) for listener in listeners))
    members = [Member(libleash.AsyncClient([stdio])) for _ in range(STDIO)]
    for listener, url in zip(listeners, urls):
        members += [Member(libleash.AsyncClient(url=url), listener) for _ in range(EACH)]
    await asyncio.gather(*(member.open() for member in members))
    print(f"opened {len(members)} of {CONNECTIONS} in {time.monotonic() - began:.2f} s")

    async def calls(of: List[Member]) -> float:
        before, began = sum(member.calls for member in of), time.monotonic()
        await asyncio.sleep(seconds / 2)
        return (sum(member.calls for member in of) - before) / (time.monotonic() - began)

    rate = await calls(members)
    print(f"{rate:.0f} calls/s, {len(os.listdir('/proc/self/task'))} threads")

    servers = members[:STDIO] + listeners
    for victim in random.Random(seed).sample(servers, len(servers) // 3):
        assert victim.client.pid is not None
        os.kill(victim.client.pid, signal.SIGKILL)
        victim.is_doomed = True
    doomed = [m for m in members if m.is_doomed or (m.listener and m.listener.is_doomed)]
    killed = time.monotonic()
    await asyncio.wait([member.task for member in doomed], timeout=30)
    died = sum(member.task.done() for member in doomed)
    rest = [member for member in members if not member.task.done()]
    print(
        f"killed {len(servers) // 3} servers: {died} of {len(doomed)} connections ended "
        f"in {time.monotonic() - killed:.2f} s, and {CONNECTIONS - len(rest) - died} others"
    )
    rate = await calls(rest)
    print(f"{rate:.0f} calls/s by the other {len(rest)}")

    closing = time.monotonic()
    await asyncio.gather(*(member.client.close() for member in rest + listeners))
    await asyncio.gather(*(member.task for member in members))
    print(f"closed the rest in {time.monotonic() - closing:.2f} s")
    return died == len(doomed) == CONNECTIONS - len(rest) and rate > 0


if __name__ == "__main__":
    if len(sys.argv) < 5:
        print("usage: fleet.py SECONDS SEED STDIO_SERVER LISTENING_SERVER [ARGUMENT...]", file=sys.stderr)
        sys.exit(64)
    # Six descriptors each, and many systems give a thousand.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    went_well = asyncio.run(fleet(float(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:]))
    sys.exit(not went_well)
