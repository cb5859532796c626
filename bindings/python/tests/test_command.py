"""`python -m libleash`, and the quickstart."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any, Callable, List

import pytest
from conftest import ROOT, Finished, example

Misbehave = Callable[..., List[str]]


def libleash(*args: str, text: str = "") -> Finished:
    done = subprocess.run(
        [sys.executable, "-m", "libleash", *args],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    return Finished(done.returncode, done.stdout, done.stderr)


def test_a_script_gets_results_on_stdout(demo: List[str]) -> None:
    done = libleash("--", *demo, text='echo {"a": 1.10}\n\n# comment\n!note\necho\n')
    assert (done.status, done.stdout) == (0, '{"a": 1.10}\nnull\n')
    assert "open\n" in done.stderr and "closed: " in done.stderr and "exit code 0" in done.stderr


def test_a_script_that_fails_says_so(demo: List[str]) -> None:
    done = libleash("--", *demo, text="nope\necho {\n:what\necho [1]\n:quit\necho [2]\n")
    assert (done.status, done.stdout) == (1, "[1]\n")
    assert "error: Method not found: nope (-32601)" in done.stderr
    assert ":what is no command" in done.stderr


def test_requests_of_the_server_are_shown_and_answered(misbehave: Misbehave) -> None:
    script = misbehave("recv", "ask:7:q", "ask:8:r", "notify:end")
    text = '!go\n:wait 0.5\n:reply 7 {"a":1}\n:wait 0.5\n:refuse 8 -3 no\n:reply 9 1\n:wait 0.5\n'
    done = libleash("--", *script, text=text)
    assert "<- q [id 7]" in done.stderr and "<- end" in done.stderr
    assert '{"result":{"a":1}}' in done.stderr and '"code":-3' in done.stderr
    assert "no request with id 9" in done.stderr


def test_handshake_environment_and_colours(demo: List[str]) -> None:
    options = [
        "--initialize",
        "--protocol",
        "bare",
        "--color",
        "always",
        "--set",
        "A=b",
        "--unset",
        "C",
    ]
    done = libleash(*options, "--", *demo)
    assert done.status == 0 and "sessionId" in done.stdout
    assert done.stdout.startswith("\033[32m{") and "\033[90mclosed: " in done.stderr


def test_an_environment_has_a_name(demo: List[str], tmp_path: Path) -> None:
    config = tmp_path / "environments.toml"
    config.write_text(f'default = "a"\n[[environments]]\nid = "a"\nprogram = "{demo[0]}"\n')
    for options in (["--env", "a"], []):
        done = libleash(*options, "--config", str(config), text="echo [1]\n")
        assert (done.status, done.stdout) == (0, "[1]\n"), done.stderr
    done = libleash("--env", "b", "--config", str(config))
    assert done.status == 1 and 'has no environment "b"; it has "a"' in done.stderr
    done = libleash("--config", str(config), "--list")
    assert json.loads(done.stdout)["default"] == "a"
    assert [e["id"] for e in json.loads(done.stdout)["environments"]] == ["a"]
    # As it was spelled before there were environments.
    done = libleash("--env", "A=b", "--", *demo)
    assert done.status == 2 and "--set NAME=VALUE" in done.stderr


def test_without_a_file_a_variable_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    variable = "CODEX_EXEC_SERVER_URL"
    monkeypatch.delenv(variable, raising=False)
    done = libleash("--env", "remote")
    assert done.status == 1 and f"{variable} is not set" in done.stderr
    monkeypatch.setenv(variable, "None")
    done = libleash("--env", "remote")
    assert done.status == 1 and 'no environment "remote"' in done.stderr
    assert libleash("--list").stdout == '{"default": null, "environments": []}\n'
    monkeypatch.setenv(variable, "ws://127.0.0.1:9/hunter2")
    assert '"default": "remote"' in libleash("--list").stdout
    done = libleash("--env", "remote")
    assert done.status == 1 and "Connection refused" in done.stderr
    assert "hunter2" not in done.stderr


def test_what_cannot_start_is_told() -> None:
    done = libleash("--", "/nonexistent/server")
    assert done.status == 1 and done.stdout == ""
    assert 'error: cannot start "server": No such file or directory' in done.stderr
    assert libleash().status == 2
    for option, wrong in (("--initialize", "[1]"), ("--initialize", "5"), ("--initialize", "{"),
                          ("--set", "A"), ("--set", "=a")):  # fmt: skip
        done = libleash(option, wrong, "--", "true")
        assert done.status == 2 and f"error: {option} takes " in done.stderr


def test_escapes_of_a_server_do_not_reach_the_terminal(misbehave: Misbehave) -> None:
    done = libleash("--", *misbehave("stderr:\033[31mred"), text=":wait 0.3\n")
    assert "\033" not in done.stderr and "red" in done.stderr


def test_a_terminal_has_a_prompt_and_a_history(demo: List[str], tmp_path: Path) -> None:
    history = tmp_path / "history"
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(LEASH_HISTORY=str(history), TERM="dumb")
        os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
        # readline wraps its prompt on a terminal without a size.
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        os.execv(sys.executable, [sys.executable, "-m", "libleash", "--", *demo])
    seen, at = "", 0

    def until(wanted: str) -> None:
        """Read until `wanted` appears behind what was waited for before."""
        nonlocal seen, at
        end = time.monotonic() + 30
        while wanted not in seen[at:]:
            assert select.select([terminal], [], [], max(0.0, end - time.monotonic()))[0], seen
            seen += os.read(terminal, 4096).decode()
        at = seen.index(wanted, at) + len(wanted)

    def enter(text: bytes) -> None:
        """What comes before the prompt would meet a terminal in another mode."""
        until(">")
        os.write(terminal, text)

    try:
        enter(b"echo [41]\n")
        until("= [41]")
        # Ctrl-C ends a call, not the session.
        enter(b"ask [1]\n")
        until("<- demo/question")
        os.write(terminal, b"\x03")
        until("interrupted")
        enter(b"echo [42]\n")
        until("= [42]")
        enter(b"\x04")
        until("closed: ")
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise
    finally:
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0
    if "readline" in sys.modules or history.exists():
        assert "echo [41]" in history.read_text()
        assert history.stat().st_mode & 0o077 == 0


needs_examples = pytest.mark.skipif(not (ROOT / "examples").exists(), reason="not in the tree")


@needs_examples
def test_a_fleet_needs_one_loop_and_no_threads(demo: List[str]) -> None:
    fleet = [str(ROOT / "examples" / "fleet.py"), "1", "1"]
    done = subprocess.run(
        [sys.executable, *fleet, *demo, example("misbehave_ws"), "upgrade", "echo-loop"],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    # It fails unless those ended, and only those, whose server was killed.
    assert done.returncode == 0, done.stdout + done.stderr
    assert "opened 200 of 200 " in done.stdout and ", 2 threads\n" in done.stdout
    assert "killed 36 servers: " in done.stdout


@needs_examples
def test_the_quickstart_is_short_and_runs(demo: List[str], peer: Any) -> None:
    quickstart = ROOT / "examples" / "quickstart.py"
    assert len(quickstart.read_text().splitlines()) < 30
    servers: List[Any] = [(demo, {})]
    try:
        codex = peer("codex")
        servers.append((codex.argv, codex.env))
    except pytest.skip.Exception as skipped:
        print(skipped)
    for argv, env in servers:
        done = subprocess.run(
            [sys.executable, str(quickstart), *argv],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, **env, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        # stderr is another pipe, and output may come after the exit.
        assert lines.index("line 2") < lines.index("oops") < len(lines) - 1
        told = [line for line in lines if line.startswith(("line ", "exit code: "))]
        assert told == ["line 1", "line 2", "line 3", "exit code: 3"]
        assert lines[-1].startswith("closed: ") and lines[-1].endswith("exit code 0")
