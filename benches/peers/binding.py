"""The Python binding of libleash, without asyncio."""

import sys
import time

from figures import FLOOD, SECONDS, SIZE, print_figures
from libleash import Client

client = Client(sys.argv[1:], cork=True)


def calls(outstanding):
    times, begun = [], time.perf_counter()
    while time.perf_counter() - begun < SECONDS:
        before = time.perf_counter()
        if outstanding == 1:
            client.call("echo", [1])
        else:
            for call in [client.submit("echo", [1]) for _ in range(outstanding)]:
                call.result()
        times.append(time.perf_counter() - before)
    return times, len(times) * outstanding / (time.perf_counter() - begun)


def large():
    begun = time.perf_counter()
    client.call("blob", {"size": SIZE})
    return time.perf_counter() - begun


def flood():
    begun = time.perf_counter()
    call, seen = client.submit("flood", {"size": FLOOD}), 0
    while seen < FLOOD:
        seen += getattr(client.poll(), "method", None) is not None
    call.result()
    return FLOOD / (time.perf_counter() - begun)


[client.call("echo", [1]) for _ in range(200)]
print_figures({n: calls(n) for n in (1, 8, 64)}, [large() for _ in range(3)], flood())
client.close()
