#!/usr/bin/env python3
"""Start each installed server and see that it answers as the tests expect.

    tests/peers/probe.py [NAME...]      default: the stdio group

No client library: what is shown here is what the server does on the wire. Exits
with status 1 when one does not answer.
"""
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
PEERS = Path(os.environ.get("LEASH_PEERS", TARGET / "peers"))


class Server:
    def __init__(self, name, *arguments, lsp=False, **env):
        self.lsp = lsp
        self.began = time.monotonic()
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [PEERS / "bin" / name, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
            env=dict(os.environ, **env), start_new_session=True)
        self.messages = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        out = self.process.stdout
        while line := out.readline():
            if self.lsp:
                length = 0
                while line.strip():
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                    line = out.readline()
                line = out.read(length)
            self.messages.put(line.decode())
        self.messages.put(None)

    def send(self, **message):
        text = json.dumps(message).encode()
        text = b"Content-Length: %d\r\n\r\n%s" % (len(text), text) if self.lsp else text + b"\n"
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def until(self, wanted, seconds=20):
        """Messages up to the first that `wanted` accepts."""
        seen, deadline = [], time.monotonic() + seconds
        while True:
            line = self.messages.get(timeout=max(0.01, deadline - time.monotonic()))
            if line is None:
                self.errors.seek(0)
                raise EOFError(f"it ended: {self.errors.read()[-500:]!r}")
            try:
                message = json.loads(line)
            except ValueError:
                message = {"noise": line}
            seen.append(message)
            if wanted(message):
                return seen

    def answer(self, number):
        return self.until(lambda m: m.get("id") == number and "method" not in m)[-1]

    def end(self):
        """Close stdin and say how that ended it."""
        self.process.stdin.close()
        began = time.monotonic()
        try:
            status = self.process.wait(3)
            return f"end-of-file ends it in {1000 * (time.monotonic() - began):.0f} ms, status {status}"
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return "end-of-file does not end it in 3 s"


def codex(folder):
    s = Server("codex", "exec-server", "--listen", "stdio", CODEX_HOME=folder)
    s.send(id=1, method="initialize", params={"clientName": "probe"})
    version = s.answer(1)["result"]["environmentInfo"]["executorVersion"]
    yield s, f"initialize: {version}"
    s.send(method="initialized")
    s.send(id=2, method="process/start", params={
        "processId": "p", "argv": ["sh", "-c", "echo hi; echo err >&2; exit 3"], "cwd": "file:///tmp",
        "env": {"PATH": "/usr/bin:/bin"}, "tty": False, "arg0": None})
    seen = s.until(lambda m: m.get("method") == "process/closed")
    yield s, "order: " + " ".join(m.get("method", "answer") for m in seen)


def deltachat(folder):
    s = Server("deltachat-rpc-server", DC_ACCOUNTS_PATH=folder + "/accounts")
    s.send(jsonrpc="2.0", id=1, method="get_system_info", params=[])
    yield s, f"get_system_info: {s.answer(1)['result']['deltachat_core_version']}"
    for n in range(2, 52):
        s.send(jsonrpc="2.0", id=n, method="sleep", params=[0.1])
    order = []
    while len(order) < 50:
        order.append(s.until(lambda m: "id" in m)[-1]["id"])
    yield s, f"50 calls, {'in order' if order == sorted(order) else 'shuffled'}"


def everything(_folder):
    s = Server("mcp-server-everything", "stdio")
    s.send(jsonrpc="2.0", id=1, method="initialize", params={
        "protocolVersion": "2025-06-18", "clientInfo": {"name": "probe", "version": "0"},
        "capabilities": {"roots": {"listChanged": True}, "sampling": {}}})
    yield s, f"initialize: {s.answer(1)['result']['serverInfo']['version']}"
    s.send(jsonrpc="2.0", method="notifications/initialized")
    seen = s.until(lambda m: m.get("method") == "roots/list")
    yield s, f"{len(seen) - 1} notifications, then roots/list with id {seen[-1]['id']}"
    s.send(jsonrpc="2.0", id=seen[-1]["id"], result={"roots": []})
    s.send(jsonrpc="2.0", id=2, method="tools/call", params={"name": "echo", "arguments": {"message": "x"}})
    yield s, f"tools/call echo: {s.answer(2)['result']['content'][0]['text']!r}"


def language_server(name, *arguments, **env):
    s = Server(name, *arguments, lsp=True, **env)
    s.send(jsonrpc="2.0", id=1, method="initialize", params={
        "processId": None, "rootUri": None,
        "capabilities": {"workspace": {"configuration": True, "didChangeConfiguration": {
            "dynamicRegistration": True}, "didChangeWatchedFiles": {"dynamicRegistration": True}}}})
    info = s.answer(1)["result"].get("serverInfo", {})
    yield s, f"initialize: {info.get('version', 'no version told')}"
    s.send(jsonrpc="2.0", method="initialized", params={})
    asked = []
    try:
        while True:
            request = s.until(lambda m: "method" in m and "id" in m, seconds=1)[-1]
            asked.append(f"{request['method']} id {request['id']}")
            items = request.get("params", {}).get("items")
            s.send(jsonrpc="2.0", id=request["id"], result=[None] * len(items) if items else None)
    except queue.Empty:
        yield s, "its requests: " + (", ".join(asked) or "none")
    s.send(jsonrpc="2.0", id=2, method="shutdown")
    yield s, f"shutdown: {s.answer(2).get('result')}"


def ruff(folder):
    return language_server("ruff", "server", RUFF_CACHE_DIR=folder)


def bash(_folder):
    return language_server("bash-language-server", "start")


PROBES = {"codex": codex, "deltachat-rpc-server": deltachat, "mcp-server-everything": everything,
          "ruff": ruff, "bash-language-server": bash}


def main():
    bad = False
    for name in sys.argv[1:] or PROBES:
        server = None
        # Not under /tmp: codex warns that it will not write there.
        with tempfile.TemporaryDirectory(dir=PEERS) as folder:
            try:
                for step, (server, text) in enumerate(PROBES[name](folder)):
                    first = f" (after {1000 * (time.monotonic() - server.began):.0f} ms)" if step == 0 else ""
                    print(f"{name}: {text}{first}")
                print(f"{name}: {server.end()}")
            except Exception as error:  # whatever it is: the next server is probed too
                bad = True
                print(f"{name}: FAILED {type(error).__name__}: {error}")
                if server:
                    server.process.kill()
    return bad


if __name__ == "__main__":
    sys.exit(main())
