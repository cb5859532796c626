"""`python -m libleash doctor -- SERVER...`: what is wrong with a server, in plain words.

It starts the server as a client would, says `initialize`, lets go, and looks: at stdout, at stderr,
at what it asks, at how it ends, and at what it leaves. Without --protocol it tries one dialect
after the other, with a fresh server each, until one is answered.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import sys
import textwrap
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

from ._client import Client
from ._errors import (
    CallTimeout,
    ClosedError,
    CloseTimeout,
    FullError,
    InvalidError,
    LeashError,
    RpcError,
    SpawnError,
)
from ._events import Closed, Noise, Request, Stage, StderrLine
from ._handshake import _greeting
from ._options import PROTOCOLS, Protocol

#: In this order; "jsonrpc" would be answered by whoever answers "mcp" or "acp".
DIALECTS: Tuple[Protocol, ...] = ("mcp", "lsp", "acp", "bare")

#: A server that ends by itself does so in this time, or it was our words that ended it.
AT_ONCE = 0.5

#: From close to SIGTERM, and from there to SIGKILL.
GRACE = 2.0

#: What keeps the leash carries the marker, too.
GUARD = "leash-guard"

#: Runs the rest of its arguments in a terminal of their own.
IN_A_TERMINAL = "import pty, sys; pty.spawn(sys.argv[1:])"


@dataclass
class Visit:
    """What was seen of one server, from its start to its end."""

    protocol: Protocol
    answered_after: Optional[float] = None
    refusal: Optional[RpcError] = None
    #: It ended before it was spoken to, or without an answer.
    ended: Optional[str] = None
    #: It says so much that is no message that an answer had no place any more.
    is_flood: bool = False
    is_at_once: bool = False
    asked: List[str] = field(default_factory=list)
    noise: List[str] = field(default_factory=list)
    stderr: List[str] = field(default_factory=list)
    #: How long the server itself took to obey the end of its input.
    obeyed_after: Optional[float] = None
    helpers: List[str] = field(default_factory=list)
    closed: Optional[Closed] = None

    @property
    def is_understood(self) -> bool:
        return self.answered_after is not None


def visit(argv: List[str], protocol: Protocol, patience: float, settings: Dict[str, Any]) -> Visit:
    """Start the server, speak to it, let it go."""
    seen = Visit(protocol)
    client = Client(argv, protocol=protocol, exit_after=GRACE, kill_after=GRACE, **settings)

    def refuse(request: Request) -> Any:
        seen.asked.append(request.method)
        raise RpcError(-32601, "the doctor answers nothing")

    client.on_request("*", refuse)
    client.on_notification("*", lambda note: None)
    try:
        _greet(client, seen, patience)
    finally:
        _let_go(client, seen)
    return seen


def _greet(client: Client, seen: Visit, patience: float) -> None:
    if _ends_within(client, seen, AT_ONCE):
        seen.is_at_once = True
        return
    params, after, after_params = _greeting(seen.protocol, None)
    began = time.monotonic()
    try:
        client.call("initialize", params, timeout=patience)
        seen.answered_after = time.monotonic() - began
        if after is not None:
            client.notify(after, after_params)
        # Some servers ask, or fall over, only now.
        _ends_within(client, seen, AT_ONCE)
    except RpcError as refusal:
        seen.refusal = refusal
    except CallTimeout:
        pass
    except FullError:
        seen.is_flood = True
    except ClosedError as error:
        seen.ended = str(error)


def _ends_within(client: Client, seen: Visit, limit: float) -> bool:
    until = time.monotonic() + limit
    while (left := until - time.monotonic()) > 0:
        event = client.poll(left)
        if isinstance(event, Closed):
            seen.closed, seen.ended = event, event.text
            return True
        _note(seen, event)
    return False


def _note(seen: Visit, event: object) -> None:
    if isinstance(event, Noise):
        seen.noise.append(event.text)
    elif isinstance(event, StderrLine):
        seen.stderr.append(event.text)
    elif isinstance(event, Closed):
        seen.closed = event


def _let_go(client: Client, seen: Visit) -> None:
    """Close stdin, and watch who leaves when."""
    if seen.closed is None and seen.ended is None and client.pid is not None:
        with _descriptor_of(client.pid) as process:
            helpers = Helpers(client.pid)
            began = time.monotonic()
            with contextlib.suppress(CloseTimeout):
                client.close(0)
            if select.select([process], [], [], GRACE - 0.1)[0]:
                seen.obeyed_after = time.monotonic() - began
                seen.helpers = helpers.names()
    client.close()
    with contextlib.suppress(LeashError):
        for event in client.events():
            _note(seen, event)


@contextlib.contextmanager
def _descriptor_of(pid: int) -> Iterator[int]:
    fd = os.pidfd_open(pid)
    try:
        yield fd
    finally:
        os.close(fd)


class Helpers:
    """What a server has started: all that carries the marker that libleash gave it."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        variables = _read(Path(f"/proc/{pid}/environ")).split(b"\0")
        self._marker = next((v for v in variables if v.startswith(b"LEASH_ID=")), None)

    def names(self) -> List[str]:
        found = []
        for entry in Path("/proc").iterdir():
            if self._marker is None or not entry.name.isdigit() or int(entry.name) == self._pid:
                continue
            if self._marker in _read(entry / "environ").split(b"\0"):
                found.append(_read(entry / "comm").decode(errors="replace").strip())
        return sorted(name for name in found if name not in ("", GUARD))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def wants_terminal(argv: List[str], settings: Dict[str, Any]) -> bool:
    """Whether a server that ends at once lives on in a terminal."""
    seen = Visit("jsonrpc")
    inside = [sys.executable, "-c", IN_A_TERMINAL, *argv]
    client = Client(inside, exit_after=0.0, kill_after=0.0, **settings)
    try:
        return not _ends_within(client, seen, 2 * AT_ONCE)
    finally:
        client.close()


# ---- What it means


class Report:
    """Findings, each a line with what it means below it."""

    def __init__(self) -> None:
        self.problems = 0

    def fine(self, text: str) -> None:
        self._say("ok", text)

    def problem(self, text: str, advice: str = "", quotes: Tuple[str, ...] = ()) -> None:
        self.problems += 1
        self._say("!!", text)
        for quote in quotes:
            # A server must not write to our terminal with escapes of its own.
            line = "".join(c if c.isprintable() else "\ufffd" for c in quote)
            print(f"       | {line[:200]}")
        for line in textwrap.wrap(advice, 90):
            print(f"     {line}")

    def _say(self, mark: str, text: str) -> None:
        print(f"{mark}   {text}", flush=True)


def explain(seen: Visit, report: Report, argv: List[str], settings: Dict[str, Any]) -> None:
    explain_answer(seen, report, argv, settings)
    if seen.noise:
        report.problem(
            f"noise on stdout: {_lines(seen.noise)} not JSON-RPC",
            "Messages own stdout. libleash passes such lines on as events; clients that are less "
            "patient break. Let the server log to stderr.",
            tuple(seen.noise[:3]),
        )
    if seen.asked:
        names = ", ".join(sorted(set(seen.asked)))
        report.fine(f"it asks its client: {names}: answer these, or it may wait")
    explain_end(seen, report)


def explain_answer(seen: Visit, report: Report, argv: List[str], settings: Dict[str, Any]) -> None:
    if seen.answered_after is not None:
        after = f"after {1000 * seen.answered_after:.0f} ms"
        report.fine(f"answers initialize {after}, as {seen.protocol}")
        if seen.ended is not None:
            report.problem(f"ends right after that: {seen.ended}", "", tuple(seen.stderr[-5:]))
    elif seen.refusal is not None:
        report.problem(
            f"refuses initialize: {seen.refusal}",
            "It speaks JSON-RPC, but wants other params, or another method first.",
        )
    elif seen.is_flood:
        report.problem(
            "floods stdout: an answer would sit behind what nobody wants",
            "It writes without being asked, and faster than it is read. Perhaps it is no server, "
            "or wants arguments that make it one (--stdio, stdio, --listen stdio).",
            tuple(seen.stderr[-5:]),
        )
    elif seen.ended is None:
        report.problem(
            "does not answer initialize",
            "It runs, and says nothing. Perhaps it wants arguments that make it speak on stdio "
            "(--stdio, stdio, --listen stdio), or another dialect (--protocol).",
            tuple(seen.stderr[-5:]),
        )
    elif seen.is_at_once and wants_terminal(argv, settings):
        report.problem(
            f"needs a terminal: {seen.ended}, but in a terminal it goes on",
            "A client gives it pipes. Look for an option that makes it a server.",
            tuple(seen.stderr[-5:]),
        )
    else:
        when = "ends at once" if seen.is_at_once else "ends when it is spoken to"
        said = (
            "The last it said on stderr is above." if seen.stderr else "It said nothing on stderr."
        )
        report.problem(f"{when}: {seen.ended}", said, tuple(seen.stderr[-5:]))


def explain_end(seen: Visit, report: Report) -> None:
    closed = seen.closed
    if closed is None or seen.ended is not None:
        return
    if seen.obeyed_after is None:
        signal = "SIGKILL" if closed.stage == Stage.KILL else "SIGTERM"
        report.problem(
            f"ignores the end of its input: {signal} was needed",
            f"Each close of it takes {GRACE:.0f} s{' more' if signal == 'SIGKILL' else ''}, unless "
            "LEASH_OPT_EXIT_AFTER is made shorter. A server should exit when stdin ends.",
        )
    else:
        report.fine(f"ends with its input, after {1000 * seen.obeyed_after:.0f} ms")
    if closed.stage and seen.obeyed_after is not None:
        names = f": {', '.join(seen.helpers)}" if seen.helpers else ""
        signal = (
            "even SIGTERM did not end them" if closed.stage == Stage.KILL else "SIGTERM was needed"
        )
        report.problem(
            f"leaves helpers behind{names}; {signal}",
            "They would have outlived a client without a guard.",
        )
    if closed.left:
        report.problem(f"{closed.left} processes cannot be killed: they are another user's")


def _lines(items: List[str]) -> str:
    return "1 line that is" if len(items) == 1 else f"{len(items)} lines that are"


# ---- The command


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m libleash doctor",
        description="Say what is wrong with a JSON-RPC server. It is started up to five times.",
        usage="%(prog)s [OPTION...] -- SERVER [ARGUMENT...]",
    )
    add = parser.add_argument
    add("--protocol", choices=list(PROTOCOLS), help="default: try them")
    add("--timeout", metavar="SECONDS", type=float, default=5.0, help="for an answer; default 5")
    add("--cwd", metavar="FOLDER")
    add("--set", metavar="NAME=VALUE", action="append", default=[], help="a variable of the server")
    add("server", nargs="+", help="the server and its arguments")
    return parser


def variables(parser: argparse.ArgumentParser, items: List[str]) -> Dict[str, str]:
    """What --set says. Ends the program when that is wrong."""
    pairs = [item.partition("=") for item in items]
    if not all(name and separator for name, separator, _ in pairs):
        parser.error("--set takes NAME=VALUE")
    return {name: value for name, _, value in pairs}


def main(arguments: Optional[List[str]] = None) -> int:
    """0: nothing found; 1: something is wrong, and was told; 2: wrong arguments."""
    parser = options()
    told = parser.parse_args(arguments)
    settings: Dict[str, Any] = {"cwd": told.cwd, "env": variables(parser, told.set)}
    if not told.timeout >= 0:
        parser.error("--timeout takes seconds, not negative")
    if told.cwd is not None and not os.path.isdir(told.cwd):
        parser.error("--cwd takes a folder that there is")
    report = Report()
    try:
        seen = _first_understood(told, settings)
        explain(seen, report, told.server, settings)
    except SpawnError as error:
        report.problem(str(error), "It was looked for in PATH, unless its name has a slash.")
    except InvalidError as error:
        parser.error(str(error))
    except LeashError as error:
        report.problem(str(error))
    print("nothing is wrong with it" if not report.problems else f"problems: {report.problems}")
    return 1 if report.problems else 0


def _first_understood(told: argparse.Namespace, settings: Dict[str, Any]) -> Visit:
    """The visit that was answered; else the one that tells most."""
    visits = []
    for protocol in [told.protocol] if told.protocol else DIALECTS:
        seen = visit(told.server, protocol, told.timeout, settings)
        if seen.is_understood or seen.is_at_once or seen.is_flood:
            return seen
        visits.append(seen)
    # A refusal says that it speaks JSON-RPC; an end at least why.
    return max(visits, key=lambda seen: (seen.refusal is not None, seen.ended is None))


if __name__ == "__main__":
    sys.exit(main())
