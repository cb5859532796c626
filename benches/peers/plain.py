"""What one writes by hand: a subprocess, a line of JSON out, a line of JSON in."""

import json
import subprocess
import sys
import time

from figures import SECONDS, SIZE, FLOOD, print_figures

server = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
last = 0


def send(method, params):
    global last
    last += 1
    message = {"jsonrpc": "2.0", "id": last, "method": method, "params": params}
    server.stdin.write(json.dumps(message).encode() + b"\n")


def answer():
    server.stdin.flush()
    while "id" not in (message := json.loads(server.stdout.readline())):
        pass
    return message["result"]


def call(method, params):
    send(method, params)
    return answer()


def calls(outstanding):
    times, begun = [], time.perf_counter()
    while time.perf_counter() - begun < SECONDS:
        before = time.perf_counter()
        for _ in range(outstanding):
            send("echo", [1])
        for _ in range(outstanding):
            answer()
        times.append(time.perf_counter() - before)
    return times, len(times) * outstanding / (time.perf_counter() - begun)


def timed(method, params):
    begun = time.perf_counter()
    call(method, params)
    return time.perf_counter() - begun


[call("echo", [1]) for _ in range(200)]
print_figures(
    {n: calls(n) for n in (1, 8, 64)},
    [timed("blob", {"size": SIZE}) for _ in range(3)],
    FLOOD / timed("flood", {"size": FLOOD}),
)
