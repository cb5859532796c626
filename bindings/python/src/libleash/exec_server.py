"""codex's exec-server, as easy as `subprocess`.

from libleash.exec_server import ExecServer

with ExecServer(["codex", "exec-server", "--listen", "stdio"]) as server:
    process = server.run(["make", "-j4"], cwd="/src")
    for stream, chunk in process:
        print(stream, chunk)
    print(process.wait())
"""

from __future__ import annotations

import base64
import itertools
import os
from collections import deque
from typing import Any, Deque, Dict, Iterator, Mapping, NamedTuple, Optional, Sequence, Union
from urllib.parse import quote

from ._client import Client
from ._errors import ClosedError, RpcError
from ._events import Notification, Request
from ._handshake import connect
from ._options import PathLike

#: For `stdin`: it stays open, for `write`.
PIPE = -1

DEFAULT_ARGV = ("codex", "exec-server", "--listen", "stdio")
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Output(NamedTuple):
    """A piece of output: `stream` is "stdout", "stderr", or "pty"."""

    stream: str
    data: bytes


class Completed(NamedTuple):
    """What came of a process."""

    exit_code: int
    stdout: bytes
    stderr: bytes


class ExecServer:
    """Runs commands where the exec-server is, and reads and writes files there.

    Parameters are those of `libleash.connect`. Methods may be called from any thread; output is
    read while some thread waits for something of this server.
    """

    def __init__(self, argv: Optional[Sequence[PathLike]] = None, **options: Any) -> None:
        places = ("url", "environment", "config")
        if argv is None and not any(options.get(place) for place in places):
            argv = DEFAULT_ARGV
        self._processes: Dict[str, Process] = {}
        self._numbers = itertools.count(1)
        handlers = {
            "process/output": self._on_output,
            "process/exited": self._on_exited,
            "process/closed": self._on_closed,
            "*": lambda event: None,
        }
        options.setdefault("protocol", "bare")
        self.client: Client = connect(
            argv, on_notification=handlers, on_request={"*": _refuse}, **options
        )
        #: What the server says of itself and its machine.
        self.info: Any = self.client.initialize_result

    def run(
        self,
        argv: Sequence[str],
        cwd: Optional[PathLike] = None,
        env: Optional[Mapping[str, str]] = None,
        stdin: Union[int, bytes, None] = None,
        tty: bool = False,
    ) -> "Process":
        """Start a command; RpcError when it cannot be started.

        `cwd` is the server's own unless given, `env` is everything that the command gets (by
        default a PATH). `stdin` is empty, PIPE to `write` later, or bytes: since the protocol has
        no way to close a stdin, `sh` and `head` of the far side make the end of those.
        """
        name = f"libleash-{os.getpid()}-{next(self._numbers)}"
        process = Process(self, name)
        command = list(argv)
        if isinstance(stdin, bytes) and not tty:
            command = ["sh", "-c", f'head -c {len(stdin)} | "$@"', "sh", *command]
        self._processes[name] = process
        params = {
            "processId": name,
            "argv": command,
            "cwd": self._home() if cwd is None else file_uri(cwd),
            "env": {"PATH": _DEFAULT_PATH} if env is None else dict(env),
            "tty": tty,
            "pipeStdin": stdin is not None,
            "arg0": None,
        }
        try:
            self.client.call("process/start", params)
            if isinstance(stdin, bytes) and stdin:
                process.write(stdin)
        except BaseException:
            self._processes.pop(name, None)
            raise
        return process

    def check_output(self, argv: Sequence[str], **options: Any) -> bytes:
        """Run to the end and give back stdout. ChildError: it failed."""
        done = self.run(argv, **options).communicate()
        if done.exit_code:
            raise ChildError(argv[0], done)
        return done.stdout

    def read_file(self, path: PathLike) -> bytes:
        """A file's content. RpcError: there is none, or it may not be read."""
        return base64.b64decode(
            self.client.call("fs/readFile", {"path": file_uri(path)})["dataBase64"]
        )

    def write_file(self, path: PathLike, data: bytes) -> None:
        """Make or replace a file."""
        encoded = base64.b64encode(data).decode()
        self.client.call("fs/writeFile", {"path": file_uri(path), "dataBase64": encoded})

    def remove_file(self, path: PathLike) -> None:
        """Remove a file."""
        self.client.call("fs/remove", {"path": file_uri(path)})

    def close(self, timeout: Optional[float] = None) -> None:
        """End the server, and all that it started."""
        self.client.close(timeout)

    def __enter__(self) -> "ExecServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _home(self) -> str:
        info = self.info.get("environmentInfo", {}) if isinstance(self.info, dict) else {}
        return str(info.get("cwd") or "file:///")

    def _of(self, event: Notification) -> "Process":
        # Output of one that we gave up on goes nowhere.
        return self._processes.get(event.params["processId"]) or Process(self, "")

    def _on_output(self, event: Notification) -> None:
        params = event.params
        self._of(event)._output.append(Output(params["stream"], base64.b64decode(params["chunk"])))

    def _on_exited(self, event: Notification) -> None:
        self._of(event).exit_code = event.params["exitCode"]

    def _on_closed(self, event: Notification) -> None:
        # Output may come after the exit, not after this.
        process = self._of(event)
        process._is_over = True
        self._processes.pop(process.name, None)


class ChildError(Exception):
    """A command ended with a failure; `completed` has its output."""

    def __init__(self, program: str, completed: Completed) -> None:
        super().__init__(f"{os.path.basename(program)} ended with {completed.exit_code}")
        self.completed = completed


class Process:
    """A command that runs at the exec-server. Iterating gives its output as it comes."""

    def __init__(self, server: ExecServer, name: str) -> None:
        self.name = name
        #: None while it runs; 128 + N when signal N ended it.
        self.exit_code: Optional[int] = None
        self._server = server
        self._output: Deque[Output] = deque()
        self._is_over = False
        self._writes = itertools.count(1)

    def read(self, timeout: Optional[float] = None) -> Optional[Output]:
        """The next piece of output; None after the last. CallTimeout, ClosedError."""
        limit = float("inf") if timeout is None else timeout
        self._server.client.wait_for(lambda: True if self._output or self._is_over else None, limit)
        return self._output.popleft() if self._output else None

    def __iter__(self) -> Iterator[Output]:
        while True:
            piece = self.read()
            if piece is None:
                return
            yield piece

    def wait(self, timeout: Optional[float] = None) -> int:
        """Wait for the end, and give back the exit code. Output is kept. CallTimeout."""
        limit = float("inf") if timeout is None else timeout
        return self._server.client.wait_for(self._ended, limit)

    def _ended(self) -> Optional[int]:
        if self._is_over and self.exit_code is None:
            return -1
        return self.exit_code if self._is_over else None

    def poll(self) -> Optional[int]:
        """The exit code, if it is known by now."""
        return self.exit_code

    def communicate(self, timeout: Optional[float] = None) -> Completed:
        """Wait for the end, and give back what is left of the output, too."""
        code = self.wait(timeout)
        pieces, self._output = list(self._output), deque()
        stdout = b"".join(piece.data for piece in pieces if piece.stream != "stderr")
        stderr = b"".join(piece.data for piece in pieces if piece.stream == "stderr")
        return Completed(code, stdout, stderr)

    def write(self, data: bytes) -> None:
        """Write to its stdin (see `stdin` of `run`), or type on its terminal."""
        params = {
            "processId": self.name,
            "writeId": str(next(self._writes)),
            "chunk": base64.b64encode(data).decode(),
        }
        result = self._server.client.call("process/write", params)
        status = result.get("status", "accepted") if isinstance(result, dict) else "accepted"
        if status != "accepted":
            raise RpcError(None, f"stdin was not written: {status}")

    def terminate(self) -> bool:
        """End it. Whether it was still running."""
        result = self._server.client.call("process/terminate", {"processId": self.name})
        return bool(result.get("running"))

    def __repr__(self) -> str:
        state = "running" if self.exit_code is None else f"exit code {self.exit_code}"
        return f"<libleash.exec_server.Process {self.name}, {state}>"

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if not self._is_over:
                self.terminate()
                self.wait()
        except ClosedError:
            pass


def _refuse(request: Request) -> None:
    raise RpcError(-32601, f"Method not found: {request.method}")


def file_uri(path: PathLike) -> str:
    """A file:// URI, as the protocol wants; one that is given stays as it is."""
    text = os.fspath(path)
    if text.startswith("file://"):
        return text
    # Relative ones mean nothing on another machine.
    if not text.startswith("/"):
        text = os.path.abspath(text)
    return "file://" + quote(text)
