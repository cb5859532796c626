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
import math
import os
import threading
import time
from collections import deque
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Deque,
    Dict,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    TypeVar,
    Union,
)
from urllib.parse import quote

from ._client import Client
from ._errors import CallTimeout, ClosedError, ConnectError, LeashError, RpcError
from ._events import Notification, Request
from ._handshake import connect
from ._options import Parameters, PathLike, check_argv

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: For `stdin`: it stays open, for `write`.
PIPE = -1

T = TypeVar("T")

#: codex's code for a session whose former connection it has not yet seen end.
_STILL_ATTACHED = -32010

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

    When a WebSocket is lost, whoever waits dials again for up to `resume` seconds, takes the
    session up, and fetches the output that was missed. Commands go on meanwhile. A line that went
    silent is only noticed with `ping_every`.
    """

    def __init__(
        self,
        argv: Optional[Sequence[PathLike]] = None,
        *,
        resume: float = 30.0,
        initialize: Optional[Mapping[str, Any]] = None,
        **options: Unpack[Parameters],
    ) -> None:
        places = ("url", "environment", "config")
        if argv is None and not any(options.get(place) for place in places):
            argv = DEFAULT_ARGV
        self._processes: Dict[str, Process] = {}
        self._numbers = itertools.count(1)
        self._argv = argv
        self._options: Dict[str, Any] = {"protocol": "bare", **options}
        self._initialize = dict(initialize or {})
        self._resume_for = resume
        self._resuming = threading.Lock()
        self._closing = threading.Event()
        #: The connection that is in use now.
        self.client: Client = self._connect()
        #: What the server says of itself and its machine.
        self.info: Any = self.client.initialize_result
        self._session = self.info.get("sessionId") if isinstance(self.info, dict) else None
        if argv is not None or self.client.pid is not None:
            # A server that we started ends with its connection.
            self._session = None

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
        check_argv(argv)
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
            self._start(process, params)
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
        return base64.b64decode(self._call("fs/readFile", {"path": file_uri(path)})["dataBase64"])

    def write_file(self, path: PathLike, data: bytes) -> None:
        """Make or replace a file."""
        encoded = base64.b64encode(data).decode()
        self._call("fs/writeFile", {"path": file_uri(path), "dataBase64": encoded})

    def remove_file(self, path: PathLike) -> None:
        """Remove a file. ClosedError: the connection was lost, and it may be there or not."""
        self.client.call("fs/remove", {"path": file_uri(path)})

    def close(self, timeout: Optional[float] = None) -> None:
        """End the server, and all that it started; or the connection, if it was dialled."""
        self._closing.set()
        self.client.close(timeout)

    def __enter__(self) -> "ExecServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _home(self) -> str:
        info = self.info.get("environmentInfo", {}) if isinstance(self.info, dict) else {}
        return str(info.get("cwd") or "file:///")

    # ---- The connection, and the next one

    def _connect(self, **changes: Any) -> Client:
        handlers = {
            "process/output": self._on_output,
            "process/exited": self._on_exited,
            "process/closed": self._on_closed,
            "*": lambda event: None,
        }
        options = {**self._options, "initialize": self._initialize, **changes}
        return connect(self._argv, on_notification=handlers, on_request={"*": _refuse}, **options)

    def _start(self, process: "Process", params: Dict[str, Any]) -> None:
        while True:
            client = self.client
            try:
                client.call("process/start", params)
                return
            except ClosedError as error:
                self._resume(client, error)
                if process._is_known:
                    return  # It arrived, and only the answer was lost.

    def _call(self, method: str, params: Any) -> Any:
        """A call that may be made twice."""
        while True:
            client = self.client
            try:
                return client.call(method, params)
            except ClosedError as error:
                self._resume(client, error)

    def _wait_for(self, ready: Callable[[], Optional[T]], timeout: Optional[float]) -> T:
        until = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            client = self.client
            try:
                return client.wait_for(ready, max(0.0, until - time.monotonic()))
            except ClosedError as error:
                self._resume(client, error, until)

    def _resume(self, lost: Client, why: ClosedError, until: float = math.inf) -> None:
        """Take the session up with another connection, unless another thread has done it.

        Raises `why` when that cannot be, and CallTimeout when it has not been `until` then.
        """
        left = max(0.0, min(until - time.monotonic(), threading.TIMEOUT_MAX))
        if not self._resuming.acquire(timeout=left):
            raise CallTimeout("the connection was lost, and is not back in time") from why
        try:
            if self.client is lost:
                self._connect_again(lost, why, until)
        finally:
            self._resuming.release()

    def _connect_again(self, lost: Client, why: ClosedError, until: float) -> None:
        if self._session is None or self._closing.is_set():
            raise why
        lost.close()
        for process in self._processes.values():
            process._is_behind = True
        give_up = time.monotonic() + self._resume_for
        pause = 0.02
        while not self._dial(min(until, give_up)):
            now = time.monotonic()
            if now >= until:
                raise CallTimeout("the connection was lost, and is not back in time") from why
            if now >= give_up or self._closing.wait(min(pause, until - now)):
                raise why
            pause = min(2 * pause, 1.0)
        if self._closing.is_set():
            self.client.close()
            raise why

    def _dial(self, until: float) -> bool:
        """Whether there is a connection again, and nothing is missing."""
        try:
            client = self._connect(
                initialize={**self._initialize, "resumeSessionId": self._session},
                connect_timeout=max(0.1, until - time.monotonic()),
            )
            try:
                for process in list(self._processes.values()):
                    process._catch_up(client)
            except BaseException:
                client.close()
                raise
        except RpcError as error:
            if error.code != _STILL_ATTACHED:
                raise ClosedError(f"the session cannot be resumed: {error}") from error
            return False
        except (ConnectError, ClosedError, CallTimeout):
            return False
        self.client = client
        return True

    def _of(self, event: Notification) -> "Process":
        # Output of one that we gave up on goes nowhere.
        return self._processes.get(event.params["processId"]) or Process(self, "")

    def _on_output(self, event: Notification) -> None:
        params = event.params
        output = Output(params["stream"], base64.b64decode(params["chunk"]))
        process = self._of(event)
        process._arrived(params.get("seq"), lambda: process._output.append(output))

    def _on_exited(self, event: Notification) -> None:
        process, params = self._of(event), event.params
        process._arrived(params.get("seq"), lambda: process._exited(params["exitCode"]))

    def _on_closed(self, event: Notification) -> None:
        # Output may come after the exit, not after this.
        process = self._of(event)
        process._arrived(event.params.get("seq"), process._closed)


class OutputLost(LeashError):
    """Output came while the connection was away, and the server has not kept all of it.

    Raised where it is missing; what came later can still be read.
    """


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
        self._output: Deque[Union[Output, OutputLost]] = deque()
        self._is_over = False
        self._writes = itertools.count(1)
        #: The number of the last notification in order, and those that came before their time.
        self._seq = 0
        self._early: Dict[int, Callable[[], None]] = {}
        self._is_behind = False
        #: Whether the server has said that it has this process.
        self._is_known = False

    def read(self, timeout: Optional[float] = None) -> Optional[Output]:
        """The next piece of output; None after the last. CallTimeout, ClosedError, OutputLost."""
        self._server._wait_for(lambda: True if self._output or self._is_over else None, timeout)
        piece = self._output.popleft() if self._output else None
        if isinstance(piece, OutputLost):
            raise piece
        return piece

    def __iter__(self) -> Iterator[Output]:
        while True:
            piece = self.read()
            if piece is None:
                return
            yield piece

    def wait(self, timeout: Optional[float] = None) -> int:
        """Wait for the end, and give back the exit code. Output is kept. CallTimeout."""
        return self._server._wait_for(self._ended, timeout)

    def _ended(self) -> Optional[int]:
        if self._is_over and self.exit_code is None:
            return -1
        return self.exit_code if self._is_over else None

    def poll(self) -> Optional[int]:
        """The exit code, if it is known by now."""
        return self.exit_code

    def communicate(self, timeout: Optional[float] = None) -> Completed:
        """Wait for the end, and give back what is left of the output, too. OutputLost."""
        code = self.wait(timeout)
        pieces: List[Output] = []
        while self._output:
            piece = self._output.popleft()
            if isinstance(piece, OutputLost):
                raise piece
            pieces.append(piece)
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
        # The server takes a writeId once.
        result = self._server._call("process/write", params)
        status = result.get("status", "accepted") if isinstance(result, dict) else "accepted"
        if status != "accepted":
            raise RpcError(None, f"stdin was not written: {status}")

    def terminate(self) -> bool:
        """End it. Whether it was still running when the server was asked, perhaps twice."""
        result = self._server._call("process/terminate", {"processId": self.name})
        return bool(result.get("running"))

    # ---- What the server says

    def _arrived(self, seq: Optional[int], happens: Callable[[], None]) -> None:
        """Notifications can overtake each other on their way; their numbers have no gap."""
        if seq is None:
            happens()
        elif seq > self._seq:
            self._early[seq] = happens
            if not self._is_behind:
                self._take_early()

    def _take_early(self) -> None:
        while self._seq + 1 in self._early:
            self._seq += 1
            self._early.pop(self._seq)()

    def _exited(self, code: int) -> None:
        self.exit_code = code

    def _closed(self) -> None:
        self._is_over = True
        self._server._processes.pop(self.name, None)

    def _catch_up(self, client: Client) -> None:
        """Fetch what a lost connection has not brought."""
        try:
            while self._read(client):
                pass
        except RpcError as error:
            if self._is_known:
                self._output.append(OutputLost(f"the server has forgotten {self.name}: {error}"))
                self._closed()
        self._is_behind = False
        self._early = {seq: happens for seq, happens in self._early.items() if seq > self._seq}
        self._take_early()

    def _read(self, client: Client) -> bool:
        """Take some of what is kept after what we have. Whether there may be more."""
        result = client.call("process/read", {"processId": self.name, "afterSeq": self._seq})
        self._is_known = True
        chunks = result["chunks"]
        # The exit and the end have numbers, too.
        ends = (result["exited"] and self.exit_code is None) + result["closed"]
        lost = result["nextSeq"] - 1 - self._seq - len(chunks) - ends
        if lost > 0:
            self._output.append(OutputLost(f"{lost} pieces of output were not kept"))
        for chunk in chunks:
            self._output.append(Output(chunk["stream"], base64.b64decode(chunk["chunk"])))
        self._seq = result["nextSeq"] - 1
        if result["exited"]:
            self._exited(result["exitCode"])
        if result["closed"]:
            self._closed()
        return bool(chunks) and not result["closed"]

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
