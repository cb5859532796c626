#!/usr/bin/env python3
"""Draw docs/tree.svg: what is left of a server when its host is killed, from a real run.

    docs/tree.py            run it, and write docs/tree.svg
    docs/tree.py --check    run it, and fail when the picture says otherwise

Needs libleash (LEASH_LIBRARY, or a build in target), bash and setsid. Takes about ten seconds.
"""

import html
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Dict, List, NamedTuple, Tuple

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "tree.svg"

#: As `npx some-server` is: a launcher that waits for the server, which has a helper in a session
#: of its own, and does not look at its stdin. `exec -a` gives each its name.
SERVER = """
setsid bash -c 'exec -a helper sleep 300' &
exec -a server sleep 300
"""
ARGV = ["bash", "-c", """exec -a launcher bash -c 'bash -c "$SERVER"; true'"""]

HOSTS = {
    "subprocess.Popen": "import subprocess as s; p = s.Popen(ARGV, stdin=s.PIPE, stdout=s.PIPE)",
    "libleash": "import libleash; c = libleash.Client(ARGV)",
}

#: EXIT_AFTER and KILL_AFTER, and the second that is promised on top.
PATIENCE = 5.0


class Process(NamedTuple):
    name: str
    parent: int


def processes(mark: str) -> Dict[int, Process]:
    """All that carry the mark in their environment, by pid."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            if not entry.name.isdigit() or mark.encode() not in (entry / "environ").read_bytes():
                continue
            name = (entry / "cmdline").read_bytes().split(b"\0")[0].decode()
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            found[int(entry.name)] = Process(name, parent)
        except OSError:
            continue
    return found


def run(how: str) -> Tuple[Dict[int, Process], Dict[int, Process], int]:
    """Before and after the host is killed, and the host's pid."""
    mark = f"LEASH_TREE={uuid.uuid4().hex}"
    name, _, value = mark.partition("=")
    package = str(ROOT / "bindings" / "python" / "src")
    environment = {**os.environ, name: value, "SERVER": SERVER, "PYTHONPATH": package}
    code = f"import time; ARGV = {ARGV!r}; {HOSTS[how]}; time.sleep(60)"
    host = subprocess.Popen([sys.executable, "-c", code], env=environment)
    try:
        before = wait_for(mark, {"launcher", "server", "helper"})
        host.kill()
        host.wait()
        until = time.monotonic() + PATIENCE
        while processes(mark) and time.monotonic() < until:
            time.sleep(0.1)
        return before, processes(mark), host.pid
    finally:
        for pid in processes(mark):
            os.kill(pid, signal.SIGKILL)


def wait_for(mark: str, names: set) -> Dict[int, Process]:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        found = processes(mark)
        if names <= {process.name for process in found.values()}:
            return found
        time.sleep(0.05)
    raise SystemExit(f"the servers did not start: {processes(mark)}")


# ---- The picture

WIDTH, LINE, INDENT, BOX = 340, 38, 26, 150


def ordered(tree: Dict[int, Process], root: int) -> List[Tuple[int, int, str]]:
    """The processes from the root down: depth, line of the parent, and pid."""
    lines: List[Tuple[int, int, int]] = []

    def visit(pid: int, depth: int, parent_line: int) -> None:
        line = len(lines)
        lines.append((depth, parent_line, pid))
        children = [child for child, process in tree.items() if process.parent == pid]
        for child in sorted(children, key=lambda child: tree[child].name):
            visit(child, depth + 1, line)

    visit(root, 0, -1)
    # The guard is nobody's child that the host can see: double-forked.
    for pid, process in tree.items():
        if pid != root and process.parent not in tree:
            visit(pid, 1, 0)
    return lines


def label(process: Process, is_host: bool) -> str:
    names = {"leash-guard": "guard", "[leash-guard]": "guard"}
    return "your program" if is_host else names.get(process.name, process.name)


def panel(x: int, y: int, title: str, before: Dict[int, Process], alive: set, host: int) -> str:
    parts = [f'<text x="{x}" y="{y}" class="title">{html.escape(title)}</text>']
    lines = ordered(before, host)
    for line, (depth, parent_line, pid) in enumerate(lines):
        left, top = x + depth * INDENT, y + 14 + line * LINE
        state = "alive" if pid in alive else "gone"
        if parent_line >= 0:
            corner = y + 14 + parent_line * LINE + 26
            held = "alive" if {pid, lines[parent_line][2]} <= alive else "gone"
            parts.append(f'<path class="{held}" d="M{left - 12} {corner}V{top + 13}H{left}"/>')
        parts.append(
            f'<rect class="{state}" x="{left}" y="{top}" width="{BOX}" height="26" rx="5"/>'
        )
        name = html.escape(label(before[pid], pid == host))
        parts.append(f'<text class="{state}" x="{left + 10}" y="{top + 18}">{name}</text>')
    return "\n".join(parts)


def told(count: int) -> str:
    return "nothing is left" if count == 0 else f"{count} processes stay"


def draw() -> str:
    body, y = [], 30
    for how in HOSTS:
        before, after, host = run(how)
        running = f"{how}: running"
        killed = f"your program is killed: {told(len(after))}"
        body.append(panel(16, y, running, before, set(before), host))
        body.append(panel(16 + WIDTH, y, killed, before, set(after), host))
        y += 14 + LINE * len(before) + 40
    size = f"0 0 {2 * WIDTH + 60} {y - 20}"
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="{size}" role="img">
<title>Two programs with the same server are killed: what is left of it</title>
<style>
text {{ font: 14px sans-serif; fill: #1f2328; }}
.title {{ font-weight: bold; }}
rect.alive {{ fill: #d5e8fb; stroke: #2f6fb0; }}
rect.gone {{ fill: none; stroke: #b8bcc2; stroke-dasharray: 4 3; }}
text.gone {{ fill: #8a9099; text-decoration: line-through; }}
path {{ fill: none; stroke: #2f6fb0; }}
path.gone {{ stroke: #b8bcc2; stroke-dasharray: 4 3; }}
.paper {{ fill: #ffffff; }}
</style>
<rect class="paper" width="100%" height="100%"/>
{chr(10).join(body)}
</svg>
"""


def main() -> int:
    picture = draw()
    if sys.argv[1:] == ["--check"]:
        if PICTURE.read_text() == picture:
            return 0
        print("docs/tree.svg says otherwise: run docs/tree.py, and look at it", file=sys.stderr)
        return 1
    PICTURE.write_text(picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
