"""`python -m libleash -- SERVER...`: talk to any server, by hand or by a script; or, with the word
`doctor`, hear what is wrong with it."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

from . import (
    Client,
    Closed,
    ClosedError,
    LeashError,
    Noise,
    Notification,
    Opened,
    Request,
    RpcError,
    StderrLine,
    connect,
    doctor,
    environments,
)
from ._options import PROTOCOLS

HELP = """\
  METHOD [PARAMS]        call, and print the result; PARAMS is JSON
  !METHOD [PARAMS]       notify
  :reply ID RESULT       answer a request of the server
  :refuse ID CODE TEXT   refuse it
  :wait [SECONDS]        let events come for that long (default 1)
  :help   :quit          or end-of-file"""

# What is printed in which colour.
COLOURS = {"result": 32, "error": 31, "notification": 36, "request": 35, "dim": 90}


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m libleash",
        description="Start a JSON-RPC server and talk to it. Lines of input:",
        epilog=HELP,
        usage="%(prog)s [OPTION...] -- SERVER [ARGUMENT...]\n"
        "       %(prog)s doctor -- SERVER [ARGUMENT...]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--protocol", choices=list(PROTOCOLS), default="jsonrpc")
    add("--url", help="dial a WebSocket instead of starting a server")
    add("--env", metavar="ID", help="connect to this environment, of --config if given")
    add("--config", metavar="FILE", help="an environments.toml; without --env its default")
    add("--list", action="store_true", help="print the environments, and connect to none")
    add("--set", metavar="NAME=VALUE", action="append", default=[], help="a variable of the server")
    add("--unset", metavar="NAME", action="append", default=[])
    add("--header", metavar="NAME: VALUE", action="append", default=[])
    add("--cwd", metavar="FOLDER")
    add("--timeout", metavar="SECONDS", type=float, default=30.0, help="of a call; default 30")
    add(
        "--initialize",
        metavar="JSON",
        nargs="?",
        const="{}",
        help="shake hands first, as the protocol wants; the JSON is added to what is sent",
    )
    add("--color", choices=["auto", "always", "never"], default="auto")
    add("server", nargs="*", help="the server and its arguments")
    return parser


class Printer:
    """One line for each thing; results go to stdout, everything else to stderr in a script."""

    def __init__(self, is_interactive: bool, colour: str) -> None:
        self._is_interactive = is_interactive
        self._lock = threading.Lock()
        wanted = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self._has_colour = colour == "always" or (colour == "auto" and wanted)

    def show(self, style: str, head: str, text: str) -> None:
        is_result = style == "result"
        to = sys.stdout if is_result or self._is_interactive else sys.stderr
        line = text if is_result and not self._is_interactive else f"{head} {text}".strip()
        # A server must not write to our terminal with escapes of its own.
        line = "".join(c if c.isprintable() or c == "\t" else "\ufffd" for c in line)
        if self._has_colour:
            line = f"\033[{COLOURS[style]}m{line}\033[0m"
        with self._lock:
            if self._is_interactive and threading.current_thread() is not threading.main_thread():
                # Over the prompt that is there, which readline draws again.
                line = f"\r\033[K{line}"
            print(line, file=to, flush=True)

    def event(self, event: Any) -> None:
        if isinstance(event, Notification):
            self.show("notification", f"<- {event.method}", _text(event.raw))
        elif isinstance(event, Request):
            head = f"<- {event.method} [id {event.id.decode()}]"
            self.show("request", head, _text(event.raw))
        elif isinstance(event, (StderrLine, Noise)):
            kind = "stderr" if isinstance(event, StderrLine) else "noise"
            self.show("dim", f"{kind}:", event.text)
        elif isinstance(event, Closed):
            self.show("dim", "", str(event))
        elif isinstance(event, Opened):
            self.show("dim", "", "open")

    def error(self, error: BaseException) -> None:
        text = str(error)
        if isinstance(error, RpcError) and error.data is not None:
            text += f" {_dump(error.data)}"
        self.show("error", "error:", text)


class Session:
    """The commands of one connection."""

    def __init__(self, client: Client, printer: Printer) -> None:
        self._client = client
        self._printer = printer
        self._requests: Dict[str, Request] = {}
        self.failures = 0
        self._events = threading.Thread(target=self._show_events, daemon=True)
        self._ended = threading.Event()
        self._events.start()

    def _show_events(self) -> None:
        with contextlib.suppress(LeashError):
            for event in self._client.events():
                if isinstance(event, Request):
                    self._requests[event.id.decode()] = event
                self._printer.event(event)
        self._ended.set()

    def run(self, line: str) -> bool:
        """Do what a line says. False: it was the last one."""
        word, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        try:
            if word in (":quit", ":q", ":exit"):
                return False
            if not word or word.startswith("#"):
                return True
            if word == ":help":
                self._printer.show("dim", "", HELP.replace("\n", " |"))
            elif word == ":wait":
                self._ended.wait(float(rest or 1))
            elif word in (":reply", ":refuse"):
                self._answer(word, rest)
            elif word.startswith("!"):
                self._client.notify(word[1:], _params(rest))
            elif word.startswith(":"):
                raise ValueError(f"{word} is no command; see :help")
            else:
                result = self._client.call(word, _params(rest), raw=True)
                self._printer.show("result", "=", _text(result))
        except KeyboardInterrupt:
            self._printer.error(RuntimeError("interrupted"))
        except (LeashError, ValueError) as error:
            self.failures += 1
            self._printer.error(error)
            return not isinstance(error, ClosedError)
        return True

    def _answer(self, word: str, rest: str) -> None:
        number, _, rest = rest.partition(" ")
        request = self._requests.pop(number, None)
        if request is None:
            raise ValueError(f"no request with id {number} is open")
        if word == ":reply":
            request.reply(_params(rest or "null") or b"null")
        else:
            code, _, text = rest.partition(" ")
            request.reply_error(int(code), text)

    def end(self) -> None:
        self._requests.clear()
        self._client.close()
        self._ended.wait(5)


def _params(text: str) -> Optional[bytes]:
    if not text:
        return None
    json.loads(text)
    return text.encode()


def _text(raw: Optional[bytes]) -> str:
    return "" if raw is None else raw.decode()


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def lines(is_interactive: bool) -> Iterator[str]:
    """Lines of input: with a prompt and a history, or just lines."""
    if not is_interactive:
        yield from sys.stdin
        return
    history = _history()
    try:
        while True:
            try:
                yield input("> ")
            except EOFError:
                print()
                return
            except KeyboardInterrupt:
                print()
    finally:
        if history is not None:
            _write_history(history)


def _history() -> Optional[Path]:
    try:
        import readline
    except ImportError:
        return None
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    file = Path(os.environ.get("LEASH_HISTORY") or state / "libleash" / "history")
    with contextlib.suppress(OSError):
        readline.read_history_file(str(file))
    readline.set_history_length(1000)
    return file


def _write_history(file: Path) -> None:
    import readline

    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        # Params may be secrets.
        file.touch(mode=0o600)
        readline.write_history_file(str(file))


def _pair(header: str) -> Tuple[str, str]:
    name, _, value = header.partition(":")
    return name, value


def _object(parser: argparse.ArgumentParser, text: str) -> Dict[str, Any]:
    with contextlib.suppress(ValueError):
        found = json.loads(text)
        if isinstance(found, dict):
            return found
    parser.error("--initialize takes a JSON object")


def main(arguments: Optional[List[str]] = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["doctor"]:
        return doctor.main(arguments[1:])
    parser = options()
    told = parser.parse_args(arguments)
    if told.env and "=" in told.env:
        parser.error("--env takes the name of an environment; a variable is --set NAME=VALUE")
    variables: Dict[str, Optional[str]] = {**doctor.variables(parser, told.set)}
    variables.update(dict.fromkeys(told.unset))
    initialize = None if told.initialize is None else _object(parser, told.initialize)
    if not (told.server or told.url or told.env or told.config or told.list):
        parser.error("which server? python -m libleash -- SERVER [ARGUMENT...]")
    is_interactive = sys.stdin.isatty() and sys.stdout.isatty()
    printer = Printer(is_interactive, told.color)
    settings: Dict[str, Any] = {
        "protocol": told.protocol,
        "timeout": told.timeout,
        "cwd": told.cwd,
        "url": told.url,
        "environment": told.env,
        "config": told.config,
        "env": variables,
        "headers": {name: value.strip() for name, value in map(_pair, told.header)},
    }
    try:
        if told.list:
            printer.show("result", "=", _dump(environments(told.config)))
            return 0
        argv = told.server or None
        if initialize is None:
            client = Client(argv, **settings)
        else:
            client = connect(argv, initialize=initialize, **settings)
    except (LeashError, ValueError) as error:
        printer.error(error)
        return 1
    session = Session(client, printer)
    try:
        if initialize is not None:
            printer.show("result", "=", _dump(client.initialize_result))
        for line in lines(is_interactive):
            if not session.run(line):
                break
    except KeyboardInterrupt:
        session.failures += 1
    finally:
        session.end()
    return 1 if session.failures and not is_interactive else 0


if __name__ == "__main__":
    sys.exit(main())
