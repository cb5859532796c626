"""What the tests stand on: the example servers, the real ones, and what is left of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[3]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
SERVERS = Path(os.environ.get("LEASH_EXAMPLES", TARGET / "debug" / "examples"))
PEERS = Path(os.environ.get("LEASH_PEERS", TARGET / "peers"))
REQUIRED = os.environ.get("LEASH_REQUIRE_PEERS") == "1"

# Started servers inherit this; what is left is found by it.
MARK = f"LEASH_TEST_MARK=py-{uuid.uuid4().hex}"
os.environ["LEASH_TEST_MARK"] = MARK.partition("=")[2]

# The promise for default options, and as much again for a busy machine.
SWEPT = 10.0


def example(name: str) -> str:
    program = SERVERS / name
    if not program.exists():
        pytest.exit(f"{name} is not built: cargo build --example {name}", returncode=2)
    return str(program)


@pytest.fixture(scope="session")
def demo() -> List[str]:
    return [example("demo_server")]


@pytest.fixture(scope="session")
def misbehave() -> Callable[..., List[str]]:
    return lambda *steps: [example("misbehave"), *steps]


class Peer(NamedTuple):
    argv: List[str]
    env: Dict[str, Any]
    folder: Path


_PEERS = {
    "codex": (["exec-server", "--listen", "stdio"], {"CODEX_HOME": ""}),
    "mcp-server-everything": (["stdio"], {}),
    "bash-language-server": (["start"], {}),
    "deltachat-rpc-server": ([], {"DC_ACCOUNTS_PATH": "accounts"}),
    "ruff": (["server"], {"RUFF_CACHE_DIR": ""}),
    "aria2c": ([], {}),
}


@pytest.fixture
def peer(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Peer]]:
    """A real server, or a skip that says how to get it."""
    folders: List[Path] = []

    def start(name: str) -> Peer:
        arguments, env = _PEERS[name]
        program = PEERS / "bin" / name
        if not program.exists():
            text = f"SKIPPED {name}: tests/peers/install.sh {name}"
            if REQUIRED:
                pytest.fail(text)
            pytest.skip(text)
        # Not under /tmp: codex then warns on stderr that it will not write there.
        folder = TARGET / "python-tests" / f"{name}-{uuid.uuid4().hex}"
        folder.mkdir(parents=True)
        folders.append(folder)
        variables = {key: str(folder / value) for key, value in env.items()}
        return Peer([str(program), *arguments], variables, folder)

    yield start
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def carriers() -> List[str]:
    """Processes other than this one that have our mark in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if MARK.encode() in (entry / "environ").read_bytes().split(b"\0"):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                found.append(f"{entry.name} {command}")
        except OSError:
            continue
    return found


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """No test leaves a process behind."""
    yield
    until = time.monotonic() + SWEPT
    while carriers():
        if time.monotonic() > until:
            pytest.fail(f"left behind: {carriers()}")
        time.sleep(0.01)


class Finished(NamedTuple):
    status: int
    stdout: str
    stderr: str


def python(code: str, *args: str, timeout: float = 60.0, **popen: Any) -> Finished:
    """Run a program in an interpreter of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code, *args],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        **popen,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def run_python() -> Callable[..., Finished]:
    return python


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
