#!/usr/bin/env python3
"""quickstart.py SERVER [ARGUMENT...]: run a command through an exec-server, in Python.

pip install ../bindings/python; ./quickstart.py codex exec-server --listen stdio
"""

import base64
import sys

import libleash

COMMAND = "for i in 1 2 3; do echo line $i; sleep 0.2; done; echo oops >&2; exit 3"
START = {"processId": "p1", "argv": ["sh", "-c", COMMAND], "cwd": "file:///tmp", "tty": False}

with libleash.connect(sys.argv[1:], protocol="bare") as server:
    server.call("process/start", {**START, "arg0": None, "env": {"PATH": "/usr/bin:/bin"}})
    for event in server.events(timeout=10):
        if not isinstance(event, libleash.Notification):
            continue
        if event.method == "process/output":
            print(base64.b64decode(event.params["chunk"]).decode(), end="", flush=True)
        elif event.method == "process/exited":
            print("exit code:", event.params["exitCode"])
        elif event.method == "process/closed":
            break
for event in server.events():
    print(event)  # the last one: Closed
