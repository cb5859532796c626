#!/usr/bin/env python3
"""Who is left: clients that start a server, and end in one way or another.

    benches/peers/survivors.py                   install, run, print a table in Markdown
    benches/peers/survivors.py popen libleash    some of them

Each client starts each of four servers (survivors/server.py), and then ends in one of five ways: it
closes as its documentation says; it exits without; it gets SIGTERM, SIGABRT, SIGKILL. A cell of the
table counts the servers of which some process lives eight seconds later. Takes about a minute for each
client; what cannot be installed is left out, and said.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
WORK = TARGET / "bench" / "peers"
MCP, MCP_TS, VSCODE, RMCP, WRAP = "2.3.0", "1.32.2", "10.0.0", "3.9.0", "10.0.1"

SERVERS = ("plain", "helper", "session", "stubborn")
ENDS = {
    "close": None,
    "exit": None,
    "SIGTERM": signal.SIGTERM,
    "SIGABRT": signal.SIGABRT,
    "SIGKILL": signal.SIGKILL,
}
PATIENCE = 8.0
NAME = "LEASH_SURVIVORS"


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    if done.returncode:
        raise RuntimeError(f"{Path(str(command[0])).name} failed:\n{done.stderr[-1000:]}")
    return done.stdout


def popen():
    return [sys.executable, HERE / "survivors/popen.py"]


def library():
    if "LEASH_LIBRARY" not in os.environ:
        run("cargo", "build", "--release", "--locked", "--lib", cwd=ROOT)
        os.environ["LEASH_LIBRARY"] = str(TARGET / "release/libleash.so")
    soname = WORK / "libleash.so.0"
    soname.unlink(missing_ok=True)
    soname.symlink_to(os.environ["LEASH_LIBRARY"])
    return soname


def libleash():
    program = WORK / "survivors-leash"
    flags = ["-I", ROOT / "include", library(), f"-Wl,-rpath,{WORK}"]
    run("cc", "-std=c99", "-Wall", "-O1", HERE / "survivors/leash.c", "-o", program, *flags)
    return [program]


def libleash_py():
    library()
    os.environ["PYTHONPATH"] = str(ROOT / "bindings/python/src")
    return [sys.executable, HERE / "survivors/leash.py"]


def mcp():
    venv = WORK / "venv"
    if not (venv / "bin/pip").exists():
        run(sys.executable, "-m", "venv", venv)
    run(venv / "bin/pip", "install", "-q", f"mcp=={MCP}")
    return [venv / "bin/python", HERE / "survivors/mcp_sdk.py"]


def node(script, package):
    if not (WORK / "package.json").exists():
        (WORK / "package.json").write_text('{"private":true}')
    run("npm", "install", "--no-audit", "--no-fund", "--prefix", WORK, package)
    os.environ["NODE_PATH"] = str(WORK / "node_modules")
    # By node itself: a wrapper would be a second process.
    return [shutil.which("node") or "node", HERE / "survivors" / script]


def rust(client):
    environment = dict(os.environ, CARGO_TARGET_DIR=str(WORK / "rmcp"))
    run("cargo", "build", "--locked", "--bin", "survivors", cwd=HERE / "rmcp", env=environment)
    return [WORK / "rmcp/debug/survivors", client]


def glib():
    package = "jsonrpc-glib-1.0"
    if subprocess.run(["pkg-config", "--exists", package]).returncode:
        run("apt-get", "install", "-y", "-q", "--no-install-recommends", "libjsonrpc-glib-1.0-dev", "pkg-config")
    flags = run("pkg-config", "--cflags", "--libs", package).split()
    run("cc", "-std=gnu99", "-Wall", "-O1", HERE / "survivors/glib.c", "-o", WORK / "survivors-glib", *flags)
    return [WORK / "survivors-glib"]


# What it is called, how it is installed and started, whether it wants Content-Length.
CLIENTS = {
    "libleash": ("**libleash**, from C", libleash, False),
    "libleash-py": ("libleash, from Python", libleash_py, False),
    "popen": ("subprocess.Popen, terminate, kill", popen, False),
    "mcp": (f"MCP Python SDK {MCP}", mcp, False),
    "mcp-ts": (f"MCP TypeScript SDK {MCP_TS}", lambda: node("mcp_sdk.js", f"@modelcontextprotocol/sdk@{MCP_TS}"), False),
    "rmcp": (f"rmcp {RMCP}", lambda: rust("rmcp"), False),
    "process-wrap": (f"process-wrap {WRAP}, process group", lambda: rust("process-wrap"), False),
    "vscode": (f"vscode-jsonrpc {VSCODE}", lambda: node("vscode.js", f"vscode-jsonrpc@{VSCODE}"), True),
    "glib": ("jsonrpc-glib 3.42", glib, True),
}


def carriers(mark):
    """The processes that carry the mark in their environment; zombies have none."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark.encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def leaks(command, server, end, has_headers):
    """Whether something is left of the server. None: the client did not come so far."""
    mark = uuid.uuid4().hex
    arguments = ["--content-length"] if has_headers else []
    argv = [*command, sys.executable, HERE / "survivors/server.py", server, *arguments]
    environment = {**os.environ, NAME: mark}
    host = subprocess.Popen(argv, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        if host.stdout.readline() != b"ready\n":
            return None
        if ENDS[end] is None:
            host.stdin.write(end.encode() + b"\n")
            host.stdin.flush()
        else:
            host.send_signal(ENDS[end])
        until = time.monotonic() + PATIENCE
        while carriers(mark) and time.monotonic() < until:
            time.sleep(0.1)
        return bool(carriers(mark))
    finally:
        for pid in carriers(mark):
            os.kill(pid, signal.SIGKILL)
        host.kill()
        host.wait()


def row(name):
    title, install, has_headers = CLIENTS[name]
    command = install()
    cells = [(server, end) for end in ENDS for server in SERVERS]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda cell: leaks(command, *cell, has_headers), cells))
    if None in found:
        raise RuntimeError(f"it did not start: {cells[found.index(None)]}")
    counts = [sum(leak for (_, its), leak in zip(cells, found) if its == end) for end in ENDS]
    return f"| {title} | {' | '.join(map(str, counts))} | {sum(counts)} of {len(cells)} |"


def main():
    WORK.mkdir(parents=True, exist_ok=True)
    print(f"| client | {' | '.join(ENDS)} | all |")
    print("|---" * (len(ENDS) + 2) + "|")
    for name in sys.argv[1:] or CLIENTS:
        try:
            print(row(name), flush=True)
        except (RuntimeError, OSError) as error:
            print(f"left out: {name}: {error}", file=sys.stderr)


main()
