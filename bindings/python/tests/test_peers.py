"""Real servers, which nobody here wrote, through Python."""

from __future__ import annotations

import asyncio
import base64
import re
import socket
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, List

import libleash
import pytest
from conftest import Peer
from libleash import AsyncClient, Client, Closed, Notification, Request, Stage
from libleash.exec_server import PIPE, ChildError, ExecServer

Peers = Callable[[str], Peer]

START = {"processId": "p", "cwd": "file:///tmp", "tty": False, "arg0": None}
START["env"] = {"PATH": "/usr/bin:/bin"}
SCRIPT = ["sh", "-c", "echo out; echo err >&2; exit 3"]


def test_codex_runs_a_command(peer: Peers) -> None:
    codex = peer("codex")
    with libleash.connect(codex.argv, protocol="bare", env=codex.env) as client:
        assert client.initialize_result["environmentInfo"]["executorVersion"]
        client.call("process/start", {**START, "argv": SCRIPT})
        output: Dict[str, bytes] = {}
        for event in client.events(20):
            if not isinstance(event, Notification):
                continue
            if event.method == "process/output":
                chunk = base64.b64decode(event.params["chunk"])
                stream = event.params["stream"]
                output[stream] = output.get(stream, b"") + chunk
            elif event.method == "process/exited":
                assert event.params["exitCode"] == 3
            elif event.method == "process/closed":
                break
        assert output == {"stdout": b"out\n", "stderr": b"err\n"}
    closed = list(client)[-1]
    assert isinstance(closed, Closed) and closed.stage == Stage.EXITED and closed.exit_code == 0


def test_codex_leaves_nothing_of_what_it_started(peer: Peers) -> None:
    codex = peer("codex")
    with libleash.connect(codex.argv, protocol="bare", env=codex.env) as client:
        # Its environment has no mark, so that it is looked for by its argument.
        mark = f"31{time.monotonic_ns() % 10**9}"
        client.call("process/start", {**START, "argv": ["sh", "-c", f"setsid sleep {mark} & echo"]})
        for event in client.events(20):
            if isinstance(event, Notification) and event.method == "process/output":
                break
        assert mark in command_lines()
    assert mark not in command_lines()


def command_lines() -> str:
    texts = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                texts.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
    return "\n".join(texts)


def test_codex_for_asyncio(peer: Peers) -> None:
    codex = peer("codex")

    async def main() -> None:
        client = await libleash.connect_async(codex.argv, protocol="bare", env=codex.env)
        async with client:
            await client.call("process/start", {**START, "argv": SCRIPT})
            async for event in client:
                if isinstance(event, Notification) and event.method == "process/exited":
                    assert event.params["exitCode"] == 3
                    break
            answers = await asyncio.gather(
                *(client.call("environment/info", {}) for _ in range(200))
            )
            assert len(answers) == 200 and all(a == answers[0] for a in answers)

    asyncio.run(main())


def test_exec_server_is_as_easy_as_subprocess(peer: Peers, tmp_path: Path) -> None:
    codex = peer("codex")
    with ExecServer(codex.argv, env=codex.env) as server:
        process = server.run(SCRIPT, cwd=tmp_path)
        assert sorted(process) == [("stderr", b"err\n"), ("stdout", b"out\n")]
        assert process.wait() == process.poll() == 3
        assert server.run(["pwd"], cwd=tmp_path).communicate().stdout == f"{tmp_path}\n".encode()
        assert server.check_output(["sh", "-c", "echo $A"], env={"A": "b"}) == b"b\n"
        with pytest.raises(ChildError, match="sh ended with 3") as caught:
            server.check_output(SCRIPT)
        assert caught.value.completed.stderr == b"err\n"
        assert server.run(["cat"], stdin=b"a\0b").communicate(20).stdout == b"a\0b"
        assert server.run(["cat"]).communicate(20) == (0, b"", b"")
        with server.run(["cat"], stdin=PIPE) as cat:
            cat.write(b"one\n")
            piece = cat.read(20)
            assert piece is not None and piece.data == b"one\n"
            with pytest.raises(libleash.CallTimeout):
                cat.read(0.01)
        assert cat.poll() not in (None, 0)
        terminal = server.run(["sh", "-c", "test -t 0 && read x && echo got $x"], tty=True)
        terminal.write(b"it\n")
        assert b"got it" in terminal.communicate(20).stdout
        # Two at a time, and output of the one while waiting for the other.
        first, second = (server.run(["sh", "-c", f"yes {n} | head -c 300000"]) for n in (1, 2))
        assert second.communicate(20).stdout == b"2\n" * 150_000
        assert first.communicate(20).stdout == b"1\n" * 150_000
        with pytest.raises(libleash.RpcError, match="No such file"):
            server.run(["/nonexistent"])

        file = tmp_path / "a b"
        server.write_file(file, b"\0\xff")
        assert file.read_bytes() == server.read_file(file) == b"\0\xff"
        server.remove_file(file)
        with pytest.raises(libleash.RpcError):
            server.read_file(file)


def test_exec_server_drives_the_demo_server(demo: List[str]) -> None:
    with ExecServer(demo) as server:
        for line in ("echo hi", b"echo hi"):
            with pytest.raises(libleash.InvalidError, match="argv is a list"):
                server.run(line)  # type: ignore[arg-type]
        assert server.run(SCRIPT).communicate(20) == (3, b"out\n", b"err\n")
        endless = server.run(["sleep", "300"])
        assert endless.terminate()
        assert endless.wait(20) == 128 + 9
        running = server.run(["sleep", "300"])
    with pytest.raises(libleash.ClosedError):
        running.wait(20)


def test_codex_over_a_websocket(peer: Peers) -> None:
    codex = peer("codex")
    argv = [codex.argv[0], "exec-server", "--listen", "ws://127.0.0.1:0"]
    with Client(argv, env=codex.env) as server:
        url = next(
            found.group(0)
            for event in server.events(20)
            for found in [re.search(r"ws://127\.0\.0\.1:\d+\S*", getattr(event, "text", ""))]
            if found
        )
        skip_without_websocket(url)
        with libleash.connect(url=url, protocol="bare") as client:
            client.call("process/start", {**START, "argv": SCRIPT})
            for event in client.events(20):
                if isinstance(event, Notification) and event.method == "process/exited":
                    assert event.params["exitCode"] == 3
                    break
        with ExecServer(url=url) as remote:
            assert remote.run(SCRIPT).communicate(20) == (3, b"out\n", b"err\n")

        async def main() -> None:
            async with await libleash.connect_async(url=url, protocol="bare") as other:
                assert (await other.call("environment/info", {}))["executorVersion"]

        asyncio.run(main())


def skip_without_websocket(url: str) -> None:
    try:
        Client(url=url, connect_timeout=20).close()
    except libleash.UnsupportedError:
        pytest.skip("SKIPPED WebSocket: this build of the library does not dial")
    except libleash.ConnectError:
        # Nobody is there, but it was dialled.
        pass


def test_aria2_over_a_websocket(peer: Peers) -> None:
    skip_without_websocket("ws://127.0.0.1:1/")
    aria2 = peer("aria2c")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--no-conf", "--enable-rpc", f"--rpc-listen-port={port}", "--disable-ipv6"]
    with Client([*aria2.argv, *options, "--enable-dht=false"], cwd=aria2.folder) as server:
        for event in server.events(20):
            if "listening" in getattr(event, "text", ""):
                break
        url = f"ws://127.0.0.1:{port}/jsonrpc"
        with Client(url=url) as client:
            assert client.call("aria2.getVersion")["version"]
            assert "aria2.addUri" in client.call("system.listMethods")


def test_deltachat_answers_in_its_own_order(peer: Peers) -> None:
    deltachat = peer("deltachat-rpc-server")
    with Client(deltachat.argv, env=deltachat.env) as client:
        assert client.call("get_system_info", [])["deltachat_core_version"]
        calls = [client.submit("sleep", [0.1]) for _ in range(50)]
        assert client.call("get_all_account_ids", []) == []
        assert [call.result(20) for call in calls] == [None] * 50
        with pytest.raises(libleash.RpcError):
            client.call("get_account_info", [99])

    async def main() -> None:
        async with AsyncClient(deltachat.argv, env=deltachat.env) as client:
            began = time.monotonic()
            await asyncio.gather(*(client.call("sleep", [0.5]) for _ in range(50)))
            assert time.monotonic() - began < 10

    asyncio.run(main())


def test_everything_s_requests_are_answered_by_handlers(peer: Peers) -> None:
    everything = peer("mcp-server-everything")
    asked: List[str] = []

    def roots(request: Request) -> Any:
        asked.append(f"roots {request.id.decode()}")
        return {"roots": [{"uri": "file:///tmp", "name": "tmp"}]}

    def sample(request: Request) -> Any:
        asked.append("sampling")
        said = request.params["messages"][0]["content"]
        text = said["text"] if isinstance(said, dict) else said[0]["text"]
        return {"role": "assistant", "model": "m", "content": {"type": "text", "text": f"<{text}>"}}

    notes: List[Notification] = []
    with libleash.connect(
        everything.argv,
        protocol="mcp",
        initialize={"capabilities": {"roots": {"listChanged": True}, "sampling": {}}},
        on_request={"roots/list": roots, "sampling/createMessage": sample},
        on_notification={"*": notes.append},
    ) as client:
        assert client.initialize_result["serverInfo"]["name"]
        echoed = client.call("tools/call", {"name": "echo", "arguments": {"message": "ü"}})
        assert "ü" in echoed["content"][0]["text"]
        client.wait_for(lambda: asked or None, 20)
        assert asked[0] == "roots 0"
        tools = {tool["name"] for tool in client.call("tools/list")["tools"]}
        sampling = next((t for t in tools if "sampling" in t.lower() and "async" not in t), None)
        if sampling:
            params = {"name": sampling, "arguments": {"prompt": "hello", "maxTokens": 5}}
            answer = client.call("tools/call", params, timeout=20)
            assert "hello" in str(answer) and "sampling" in asked
        longs = next(t for t in tools if "long" in t.lower())
        call = client.submit(
            "tools/call", {"name": longs, "arguments": {"duration": 60, "steps": 2}}
        )
        assert call.cancel()
        with pytest.raises(libleash.CallCancelled):
            call.result()
        assert client.call("ping") == {}
        assert notes


def test_everything_for_asyncio(peer: Peers) -> None:
    everything = peer("mcp-server-everything")

    async def main() -> None:
        asked = asyncio.Event()

        async def roots(request: Request) -> Any:
            await asyncio.sleep(0)
            asked.set()
            return {"roots": []}

        client = await libleash.connect_async(
            everything.argv,
            protocol="mcp",
            initialize={"capabilities": {"roots": {}}},
            on_request={"roots/list": roots},
            on_notification={"*": lambda note: None},
        )
        async with client:
            await asyncio.wait_for(asked.wait(), 20)
            calls = (
                client.call("tools/call", {"name": "echo", "arguments": {"message": str(n)}})
                for n in range(100)
            )
            results = await asyncio.gather(*calls)
            assert all(str(n) in r["content"][0]["text"] for n, r in enumerate(results))

    asyncio.run(main())


def document(uri: str, language: str, text: str) -> Dict[str, Any]:
    return {"textDocument": {"uri": uri, "languageId": language, "version": 1, "text": text}}


def test_ruff_diagnoses(peer: Peers, tmp_path: Path) -> None:
    ruff = peer("ruff")
    notes: List[Notification] = []
    with libleash.connect(
        ruff.argv,
        protocol="lsp",
        env=ruff.env,
        on_notification={"textDocument/publishDiagnostics": notes.append},
        on_request={"*": lambda request: None},
    ) as client:
        assert client.initialize_result["serverInfo"]["name"] == "ruff"
        uri = f"{tmp_path.as_uri()}/ä.py"
        client.notify("textDocument/didOpen", document(uri, "python", "import os  # ü\n"))
        note = client.wait_for(lambda: notes[0] if notes else None, 20)
        assert note.params["diagnostics"][0]["code"] == "F401"
        assert client.call("shutdown") is None
        client.notify("exit")
        closed = [event for event in client.events(20) if isinstance(event, Closed)]
    assert closed[0].exit_code == 0


def test_bash_language_server_is_answered(peer: Peers, tmp_path: Path) -> None:
    bash = peer("bash-language-server")
    asked: List[str] = []

    def configuration(request: Request) -> Any:
        asked.append(request.method)
        return [None for _ in request.params["items"]]

    def register(request: Request) -> Any:
        asked.append(request.method)

    with libleash.connect(
        bash.argv,
        protocol="lsp",
        initialize={
            "capabilities": {
                "workspace": {
                    "configuration": True,
                    "didChangeConfiguration": {"dynamicRegistration": True},
                }
            }
        },
        on_request={"workspace/configuration": configuration, "*": register},
        on_notification={"*": lambda note: None},
    ) as client:
        client.wait_for(lambda: asked or None, 20)
        uri = f"{tmp_path.as_uri()}/a.sh"
        client.notify(
            "textDocument/didOpen", document(uri, "shellscript", "# größe\ngruss() { echo ü; }\n")
        )
        # It reads the document when it has our configuration.
        symbols: List[Any] = []
        until = time.monotonic() + 20
        while not symbols and time.monotonic() < until:
            params = {"textDocument": {"uri": uri}}
            symbols = client.call("textDocument/documentSymbol", params)
        assert [symbol["name"] for symbol in symbols] == ["gruss"]


OVERTAKING = """
import json, sys
def say(method, **params):
    print(json.dumps({"method": method, "params": {"processId": name, **params}}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if "id" in request:
        print(json.dumps({"id": request["id"], "result": {}}), flush=True)
    if request["method"] == "process/start":
        name = request["params"]["processId"]
        say("process/output", seq=2, stream="stdout", chunk="Yg==")
        say("process/output", seq=1, stream="stdout", chunk="YQ==")
        say("process/exited", seq=4, exitCode=0)
        say("process/output", seq=3, stream="stdout", chunk="Yw==")
        say("process/closed", seq=5)
"""


def test_output_that_was_overtaken_is_put_in_its_place() -> None:
    # codex does that now and then, under load.
    with ExecServer([sys.executable, "-c", OVERTAKING]) as server:
        assert server.run(["any"], cwd="/").communicate(20) == (0, b"abc", b"")
