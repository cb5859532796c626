#!/usr/bin/env python3
"""asyncio_commands.py SERVER [ARGUMENT...]: three commands at once on an exec-server, in asyncio.

pip install ../bindings/python; ./asyncio_commands.py codex exec-server --listen stdio
"""

import asyncio
import base64
import sys
from typing import Dict

import libleash

COMMANDS = {
    "count": "for i in 1 2 3; do echo $i; sleep 0.1; done",
    "greet": "echo hello; sleep 0.2; echo good-bye",
    "fail": "echo oops >&2; exit 3",
}


async def run(server: libleash.AsyncClient, name: str) -> None:
    where = {"cwd": "file:///tmp", "env": {"PATH": "/usr/bin:/bin"}, "tty": False, "arg0": None}
    argv = ["sh", "-c", COMMANDS[name]]
    await server.call("process/start", {"processId": name, "argv": argv, **where})


async def show(server: libleash.AsyncClient) -> None:
    """Print what the commands say, until the last one has closed its output."""
    codes: Dict[str, int] = {}
    closed = 0
    async for event in server:
        if not isinstance(event, libleash.Notification):
            continue
        name = event.params["processId"]
        if event.method == "process/output":
            for line in base64.b64decode(event.params["chunk"]).decode().splitlines():
                print(f"{name}: {line}", flush=True)
        elif event.method == "process/exited":
            codes[name] = event.params["exitCode"]
        elif event.method == "process/closed":
            closed += 1
            if closed == len(COMMANDS):
                break
    print("exit codes:", *(f"{name} {codes[name]}" for name in COMMANDS))


async def main() -> None:
    async with await libleash.connect_async(sys.argv[1:], protocol="bare") as server:
        await asyncio.gather(show(server), *(run(server, name) for name in COMMANDS))


asyncio.run(main())
