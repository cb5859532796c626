#!/usr/bin/env python3
"""libleash beside what one would use instead, each against the same server in C.

    benches/peers/run.py                    install, measure, print a table in Markdown
    benches/peers/run.py libleash plain.py  some of them
    ROUNDS=9 benches/peers/run.py           more rounds than 5
    ANY_CORE=1 benches/peers/run.py         client and server are not kept on one core

Everything is installed from the public registries into target/bench/peers, once; jsonrpc-glib
needs apt and root. What cannot be installed is left out, and said. Clients take turns, each in
a process of its own; a figure is the median of the rounds. All figures go to
target/bench/peers.json, too.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
WORK = TARGET / "bench" / "peers"
LIBRARY = TARGET / "release"
SERVER = WORK / "server"
WS_SERVER = WORK / "ws_server"
MCP, VSCODE, RMCP, GLIB = "2.3.0", "10.0.0", "3.9.0", "libjsonrpc-glib-1.0-dev"
WEBSOCKETS, WS, JSONRPSEE = "17.4", "8.23.0", "0.26.1"


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    if done.returncode:
        raise RuntimeError(f"{Path(str(command[0])).name} failed:\n{done.stderr[-1000:]}")
    return done.stdout


def c_program(source, name, *arguments):
    run("cc", "-std=gnu99", "-D_GNU_SOURCE", "-Wall", "-Werror", "-O2", HERE / source, "-o", WORK / name, *arguments)
    return [WORK / name]


def servers():
    c_program("../floor/server.c", "server", "-static")
    c_program("../floor/ws_server.c", "ws_server", "-static")


def libleash():
    run("cargo", "build", "--release", "--locked", "--lib", cwd=ROOT)
    soname = WORK / "libleash.so.0"
    soname.unlink(missing_ok=True)
    soname.symlink_to(LIBRARY / "libleash.so")
    return c_program("libleash.c", "libleash", f"-I{ROOT}/include", soname, f"-Wl,-rpath,{WORK}")


def binding():
    libleash()
    os.environ["LEASH_LIBRARY"] = str(WORK / "libleash.so.0")
    os.environ["PYTHONPATH"] = str(ROOT / "bindings/python/src")
    return [sys.executable, HERE / "binding.py"]


def python_loop():
    return [sys.executable, HERE / "plain.py"]


def python_package(requirement, script):
    venv = WORK / "venv"
    if not (venv / "bin/pip").exists():
        run(sys.executable, "-m", "venv", venv)
    run(venv / "bin/pip", "install", "-q", requirement)
    return [venv / "bin/python", HERE / script]


def mcp_sdk():
    return python_package(f"mcp=={MCP}", "mcp_sdk.py")


def websockets():
    return python_package(f"websockets=={WEBSOCKETS}", "websockets_client.py")


def node_loop():
    return [shutil.which("node") or "node", HERE / "plain.js"]


def node_package(package, version, script):
    if not (WORK / "node_modules" / package).exists():
        (WORK / "package.json").write_text('{"private":true}')
        run("npm", "install", "--prefix", WORK, f"{package}@{version}")
    # By node itself: a wrapper would be a second process.
    os.environ["NODE_PATH"] = str(WORK / "node_modules")
    return [shutil.which("node") or "node", HERE / script]


def vscode():
    return node_package("vscode-jsonrpc", VSCODE, "vscode.js")


def ws():
    return node_package("ws", WS, "ws.js")


def crate(name):
    environment = dict(os.environ, CARGO_TARGET_DIR=str(WORK / name))
    run("cargo", "build", "--release", "--locked", cwd=HERE / name, env=environment)
    return WORK / name / f"release/peer-{name}"


def rmcp():
    return crate("rmcp")


def jsonrpsee():
    return [crate("jsonrpsee")]


def glib():
    package = "jsonrpc-glib-1.0"
    if subprocess.run(["pkg-config", "--exists", package]).returncode:
        run("apt-get", "install", "-y", "-q", "--no-install-recommends", GLIB, "pkg-config")
    flags = run("pkg-config", "--cflags", "--libs", package).split()
    return c_program("glib.c", "glib", *flags)


# Name, how it is installed and started, whether it wants Content-Length.
CLIENTS = {
    "libleash": ("libleash, from C", libleash, False),
    "binding.py": ("libleash, from Python", binding, False),
    "plain.py": ("Python, a loop by hand", python_loop, False),
    "rmcp-current": (f"rmcp {RMCP}, current-thread", lambda: [rmcp(), "current"], False),
    "rmcp": (f"rmcp {RMCP}, default runtime", lambda: [rmcp(), "default"], False),
    "plain.js": ("node, by hand", node_loop, False),
    "vscode": (f"vscode-jsonrpc {VSCODE}", vscode, True),
    "glib": ("jsonrpc-glib 3.42", glib, True),
    "mcp": (f"MCP Python SDK {MCP}", mcp_sdk, False),
}

# The same by WebSocket: name, how it is installed and started.
WS_CLIENTS = {
    "ws-libleash": ("libleash, from C", libleash),
    "ws-jsonrpsee": (f"jsonrpsee {JSONRPSEE}, current-thread", jsonrpsee),
    "ws-node": (f"node, ws {WS}", ws),
    "ws-python": (f"Python, websockets {WEBSOCKETS}", websockets),
}


def pinned():
    return [] if os.environ.get("ANY_CORE") else ["taskset", "-c", str(max(os.sched_getaffinity(0)))]


def measure(command, has_headers):
    arguments = ["--content-length"] if has_headers else []
    return json.loads(run(*pinned(), *command, SERVER, *arguments, timeout=60))


def measure_ws(command):
    listening = [*pinned(), str(WS_SERVER)]
    # It ends with its stdin.
    with subprocess.Popen(listening, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        url = server.stdout.readline().strip()
        figures = json.loads(run(*pinned(), *command, url, timeout=60))
        server.stdin.close()
    return figures


def thousands(calls):
    return f"{calls / 1e3:.1f}k" if calls < 1e5 else f"{calls / 1e3:.0f}k"


def installed(clients, wanted):
    """The commands of those that can be had."""
    commands = {}
    for name in (name for name in clients if name in wanted):
        try:
            commands[name] = clients[name][1]()
        except (RuntimeError, OSError) as error:
            print(f"left out: {name}: {error}", file=sys.stderr)
    return commands


def in_turns(commands, measure_one):
    """All rounds of each client."""
    rounds = {name: [] for name in commands}
    if not commands:
        return rounds
    for number in range(int(os.environ.get("ROUNDS", "5"))):
        print(f"round {number + 1}", file=sys.stderr)
        for name, command in commands.items():
            rounds[name].append(measure_one(name, command))
    return rounds


def medians(taken):
    return {figure: median(each[figure] for each in taken) for figure in taken[0]}


def row(name, client, rounds, ours):
    """The cells that both tables have."""
    f, times = medians(rounds[name]), ""
    if ours in rounds and name != ours:
        pairs = zip(rounds[name], rounds[ours])
        times = f"{median(a['p50_us'] / b['p50_us'] for a, b in pairs):.1f}x"
    calls = ", ".join(thousands(f[f"calls_{n}"]) for n in (1, 8, 64))
    return f"| {client} | {f['p50_us']:.1f} us | {times} | {calls} |"


def main():
    wanted = sys.argv[1:] or [*CLIENTS, *WS_CLIENTS]
    WORK.mkdir(parents=True, exist_ok=True)
    servers()
    rounds = in_turns(installed(CLIENTS, wanted), lambda name, command: measure(command, CLIENTS[name][2]))
    ws_rounds = in_turns(installed(WS_CLIENTS, wanted), lambda _, command: measure_ws(command))

    figures = {name: medians(taken) for name, taken in (rounds | ws_rounds).items()}
    (WORK.parent / "peers.json").write_text(json.dumps({"figures": figures, "rounds": rounds | ws_rounds}))
    head = "| client | p50 | slower than libleash | calls/s, 1, 8, 64 outstanding |"
    if rounds:
        print(f"{head} 16 MB result | notifications/s |\n|---|--:|--:|--:|--:|--:|")
    for name in rounds:
        f = figures[name]
        cells = f" {f['large_ms']:,.0f} ms | {thousands(f['notifications'])} |"
        print(row(name, CLIENTS[name][0], rounds, "libleash") + cells)
    if ws_rounds:
        print(f"\nBy WebSocket:\n\n{head}\n|---|--:|--:|--:|")
    for name in ws_rounds:
        print(row(name, WS_CLIENTS[name][0], ws_rounds, "ws-libleash"))


main()
