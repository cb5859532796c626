"""A server to leave behind: server.py plain|helper|session|stubborn [--content-length].

Answers every request so that any client is content. Apart from that:
plain     nothing; it ends with its input
helper    has a helper in the background
session   has a helper in a session of its own
stubborn  ignores the end of its input, and every signal that can be ignored
"""

import json
import signal
import subprocess
import sys
import time

HELPER = ["sleep", "60"]
INITIALIZED = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "serverInfo": {"name": "survivor", "version": "1"},
}


def message():
    line = sys.stdin.readline()
    if not sys.argv[2:]:
        return line
    length = 0
    while line.strip():
        name, _, value = line.partition(":")
        length = int(value) if name.lower() == "content-length" else length
        line = sys.stdin.readline()
    return sys.stdin.read(length)


def answer(request):
    text = json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": INITIALIZED})
    head = f"Content-Length: {len(text)}\r\n\r\n" if sys.argv[2:] else ""
    print(head + text, end="" if head else "\n", flush=True)


kind = sys.argv[1]
if kind in ("helper", "session"):
    nothing = subprocess.DEVNULL
    subprocess.Popen(HELPER, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=kind == "session")
if kind == "stubborn":
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
while text := message():
    request = json.loads(text)
    if "id" in request:
        answer(request)
if kind == "stubborn":
    time.sleep(60)
