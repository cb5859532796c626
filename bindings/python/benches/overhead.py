#!/usr/bin/env python3
"""What Python adds to a call, what a loop pays, and how long it is ever blocked.

    benches/overhead.py SERVER [ARGUMENT...]     an echo server: target/release/examples/demo_server

The C call and the Python call take turns in one run, so that they meet the same machine.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from ctypes import byref, c_void_p
from typing import Any, Callable, Dict, List

import libleash
from libleash import _library

PARAMS = {"path": "/tmp/file", "offset": 0, "text": "hello"}
RAW = b'{"path":"/tmp/file","offset":0,"text":"hello"}'


def c_calls(client: libleash.Client, count: int) -> List[float]:
    """leash_call and leash_event_free as a C host has them, but for ctypes' own cost, which
    `ctypes_cost` measures and takes off."""
    address = client._open_connection().address
    call, free = _library.wait.call, _library.quick.event_free
    times: List[float] = []
    for _ in range(count):
        event = c_void_p()
        place = byref(event)
        began = time.perf_counter_ns()
        call(address, b"echo", RAW, len(RAW), 10_000, place)
        free(event)
        times.append(time.perf_counter_ns() - began)
    return [t / 1000 for t in times]


def ctypes_cost(client: libleash.Client, count: int) -> float:
    """What ctypes takes for the two functions when they have nothing to do."""
    call, free = _library.wait.call, _library.quick.event_free
    times: List[float] = []
    event = c_void_p()
    place = byref(event)
    for _ in range(count):
        began = time.perf_counter_ns()
        call(None, b"echo", RAW, len(RAW), 10_000, place)
        free(event)
        times.append(time.perf_counter_ns() - began)
    # The refusal of the NULL costs some, too: an upper bound is taken off by half.
    return statistics.median(times) / 1000 / 2


def python_calls(work: Callable[[], Any], count: int) -> List[float]:
    times: List[float] = []
    for _ in range(count):
        began = time.perf_counter_ns()
        work()
        times.append(time.perf_counter_ns() - began)
    return [t / 1000 for t in times]


def sync(argv: List[str]) -> None:
    with libleash.Client(argv) as client:
        rows: Dict[str, List[float]] = {"C": [], "raw": [], "values": []}
        differences: Dict[str, List[float]] = {"raw": [], "values": []}
        for _ in range(20):
            works: Dict[str, Callable[[], List[float]]] = {
                "C": lambda: c_calls(client, 200),
                "raw": lambda: python_calls(lambda: client.call("echo", RAW, raw=True), 200),
                "values": lambda: python_calls(lambda: client.call("echo", PARAMS), 200),
            }
            medians = {}
            for name, work in works.items():
                times = work()
                rows[name] += times
                medians[name] = statistics.median(times)
            for name, found in differences.items():
                found.append(medians[name] - medians["C"])
        off = ctypes_cost(client, 2000)
        c = statistics.median(rows["C"]) - off
        print(f"C call              {c:7.1f} us  (ctypes' own {off:.1f} us taken off)")
        for name, title in (("raw", "Python, raw"), ("values", "Python, values")):
            median = statistics.median(rows[name])
            above = statistics.median(differences[name]) + off
            print(f"{title:19} {median:7.1f} us  {above:+.1f} us above C")


async def loop(argv: List[str]) -> None:
    async with libleash.AsyncClient(argv, timeout=120) as client:
        times: List[float] = []
        for _ in range(2000):
            began = time.perf_counter_ns()
            await client.call("echo", PARAMS)
            times.append((time.perf_counter_ns() - began) / 1000)
        print(f"asyncio, one        {statistics.median(times):7.1f} us")

        longest: float = 0.0
        computed: float = 0.0
        stop = False

        async def watch() -> None:
            nonlocal longest, computed
            last: float = time.perf_counter()
            last_computed: float = time.thread_time()
            while not stop:
                await asyncio.sleep(0)
                now, now_computed = time.perf_counter(), time.thread_time()
                longest, last = max(longest, now - last), now
                computed = max(computed, now_computed - last_computed)
                last_computed = now_computed

        watcher = asyncio.ensure_future(watch())
        await asyncio.sleep(0)
        start = time.perf_counter()
        calls = []
        for n in range(10_000):
            calls.append(client.submit("echo", PARAMS))
            if n % 20 == 0:
                await asyncio.sleep(0)
        results = await asyncio.gather(*calls)
        took = time.perf_counter() - start
        assert len(results) == 10_000 and all(result == PARAMS for result in results)
        stop = True
        await watcher
        print(f"asyncio, 10,000 in flight: {took * 1e6 / 10_000:.1f} us a call")
        print(
            f"longest stall of the loop: {longest * 1000:.1f} ms, of which it computed at most",
            end="",
        )
        print(f" {computed * 1000:.1f} ms; else others ran (load {os.getloadavg()[0]:.1f})")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sync(sys.argv[1:])
    asyncio.run(loop(sys.argv[1:]))
