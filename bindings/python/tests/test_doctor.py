"""`python -m libleash doctor`: each thing that can be wrong, and real servers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Callable, List, Tuple

import pytest
from conftest import Peer

Misbehave = Callable[..., List[str]]

HEALTHY = "nothing is wrong with it\n"


def doctor(*arguments: str, **env: str) -> Tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "libleash", "doctor", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **env},
    )
    assert not done.stderr or done.returncode == 2, done.stderr
    return done.returncode, done.stdout


def test_a_good_server_is_left_in_peace(misbehave: Misbehave) -> None:
    status, said = doctor("--", *misbehave("request", "reply:{}"))
    assert status == 0 and said.endswith(HEALTHY)
    assert "ok   answers initialize after " in said and "as mcp\n" in said
    assert "ok   ends with its input, after " in said


def test_noise_is_shown_without_its_escapes(misbehave: Misbehave) -> None:
    status, said = doctor("--", *misbehave("noise", "request", "reply:{}"))
    assert status == 1 and "!!   noise on stdout: 2 lines that are not JSON-RPC\n" in said
    assert "| Need to install" in said and "\033" not in said and said.endswith("problems: 1\n")


def test_a_flood_of_noise(misbehave: Misbehave) -> None:
    status, said = doctor("--", "yes", "no \033[31mmessage")
    assert status == 1 and "!!   floods stdout: " in said
    assert "!!   noise on stdout: " in said and "| no \ufffd[31mmessage\n" in said


def test_wrong_arguments_are_no_sickness(tmp_path: Path, misbehave: Misbehave) -> None:
    for wrong in (
        ("--set", "NAME"),
        ("--set", "=value"),
        ("--timeout", "nan"),
        ("--timeout", "-1"),
        ("--cwd", str(tmp_path / "none")),
    ):
        assert doctor(*wrong, "--", *misbehave("recv")) == (2, "")


def test_silence(misbehave: Misbehave) -> None:
    status, said = doctor("--protocol", "lsp", "--timeout", "0.3", "--", *misbehave("ignore-eof"))
    assert status == 1 and "!!   does not answer initialize\n" in said and "--stdio" in said
    assert "!!   ignores the end of its input: SIGTERM was needed\n" in said


def test_a_server_that_ends_at_once(misbehave: Misbehave) -> None:
    status, said = doctor("--", *misbehave("stderr:no such database", "exit:3"))
    assert status == 1
    assert '!!   ends at once: "misbehave" exited with status 3\n' in said
    assert "| no such database\n" in said and "terminal" not in said


def test_a_server_that_our_words_end(misbehave: Misbehave) -> None:
    status, said = doctor("--protocol", "mcp", "--", *misbehave("recv", "abort"))
    assert status == 1 and "!!   ends when it is spoken to: " in said and "SIGABRT" in said
    assert "It said nothing on stderr." in said


def test_a_server_that_answers_and_ends(misbehave: Misbehave) -> None:
    status, said = doctor("--", *misbehave("request", "reply:{}", "stderr:oops", "exit:4"))
    assert status == 1 and "!!   ends right after that: " in said and "| oops\n" in said


def test_a_refusal(misbehave: Misbehave) -> None:
    script = misbehave("request", "error:-32602:where is my token?")
    status, said = doctor("--protocol", "acp", "--", *script)
    assert status == 1 and "!!   refuses initialize: where is my token? (-32602)\n" in said


def test_a_server_that_needs_a_terminal() -> None:
    script = "test -t 0 || { echo 'stdin is not a tty' >&2; exit 1; }; cat"
    status, said = doctor("--", "sh", "-c", script)
    assert status == 1 and "!!   needs a terminal: " in said and "| stdin is not a tty\n" in said


def test_a_server_that_ignores_end_of_file_and_term(misbehave: Misbehave) -> None:
    script = misbehave("ignore-term", "ignore-eof", "request", "reply:{}")
    status, said = doctor("--", *script)
    assert status == 1 and "!!   ignores the end of its input: SIGKILL was needed\n" in said


def test_a_server_that_leaves_helpers(misbehave: Misbehave) -> None:
    script = misbehave("sh:setsid sleep 300 &", "request", "reply:{}")
    status, said = doctor("--", *script)
    assert status == 1 and "ok   ends with its input" in said
    assert "!!   leaves helpers behind: sleep; SIGTERM was needed\n" in said


def test_what_it_asks_is_told(misbehave: Misbehave) -> None:
    status, said = doctor("--", *misbehave("request", "ask:1:roots/list", "reply:{}"))
    assert status == 0 and "ok   it asks its client: roots/list: " in said


def test_a_server_that_cannot_be_started() -> None:
    status, said = doctor("--", "no-such-server")
    assert status == 1 and '!!   cannot start "no-such-server": No such file or directory' in said


def test_no_server_is_no_sickness() -> None:
    status, said = doctor("--")
    assert status == 2 and said == ""


@pytest.mark.parametrize(
    "name, speaks", [("mcp-server-everything", "mcp"), ("ruff", "lsp"), ("codex", "bare")]
)
def test_real_servers_are_well(peer: Callable[[str], Peer], name: str, speaks: str) -> None:
    server = peer(name)
    status, said = doctor("--timeout", "2", "--", *server.argv, **server.env)
    assert f"as {speaks}\n" in said and status == 0, said
