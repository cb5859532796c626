"""What arrives on a connection."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from typing import Any, Callable, Dict, Optional, Union

from . import _abi, _json
from ._errors import CallTimeout, LeashError, RpcError, from_status
from ._library import (
    QUICK_MAX,
    EventPointer,
    check,
    event_bytes,
    event_int,
    event_kind,
    quick,
    wait,
)
from ._options import text


class Stage(IntEnum):
    """How far a teardown had to go."""

    EXITED = _abi.LEASH_STAGE_EXITED
    TERM = _abi.LEASH_STAGE_TERM
    KILL = _abi.LEASH_STAGE_KILL


@dataclass(frozen=True)
class Event:
    """One thing that arrived. `seq` is its arrival number on this connection, from 1."""

    seq: int


@dataclass(frozen=True)
class Opened(Event):
    """The server runs."""


@dataclass(frozen=True)
class Notification(Event):
    """The peer tells something. `raw` is the text of the params, as the peer wrote it."""

    method: str
    raw: Optional[bytes]

    @cached_property
    def params(self) -> Any:
        """The parsed params. ProtocolError: they are not JSON."""
        return _json.parse(self.raw)


@dataclass(frozen=True)
class Request(Event):
    """The peer wants an answer: give `reply` or `reply_error`, once, from any thread.

    A request that is dropped without an answer is refused, so that the peer does not wait for ever.
    """

    method: str
    raw: Optional[bytes]
    #: The peer's id as JSON text.
    id: bytes
    _pointer: EventPointer = field(repr=False, compare=False)

    @cached_property
    def params(self) -> Any:
        """The parsed params. ProtocolError: they are not JSON."""
        return _json.parse(self.raw)

    def reply(self, result: Any = None) -> None:
        """Answer. StateError: it has been answered. ClosedError, FullError: it has not."""
        json = _json.value_of(result)
        functions = quick if len(json) <= QUICK_MAX else wait
        check(functions.reply(self._pointer, json, len(json)))

    def reply_error(self, code: int, message: str, data: Any = None) -> None:
        """Refuse. Errors as for `reply`."""
        json = None if data is None else _json.value_of(data)
        length = 0 if json is None else len(json)
        # A message may say anything; C texts end at a NUL.
        said = text(message.replace("\0", "\ufffd"), "message")
        check(quick.reply_error(self._pointer, code, said, json, length))


@dataclass(frozen=True)
class StderrLine(Event):
    """A line that the server wrote to stderr. `dropped`: lines lost just before it."""

    text: str
    dropped: int = 0


@dataclass(frozen=True)
class Noise(Event):
    """Something on stdout that is not JSON-RPC, or an answer that no call waits for."""

    text: str


@dataclass(frozen=True)
class Closed(Event):
    """The connection has ended, and nothing of the server is left. Always the last event."""

    #: 0 after `close`, else the leash_code that ended it.
    status: int
    #: Why it ended.
    text: str
    exit_code: Optional[int] = None
    exit_signal: Optional[int] = None
    stage: Optional[Stage] = None
    #: Processes that were still alive when SIGKILL was sent.
    killed: int = 0
    #: Processes that could not be killed.
    left: int = 0
    #: Bytes that arrived during the teardown and had no place any more.
    discarded: int = 0
    #: Lines of stderr that were lost.
    dropped: int = 0
    #: WebSocket close code.
    close_code: Optional[int] = None
    #: What the system said, when that was the reason.
    errno: Optional[int] = None

    @property
    def error(self) -> Optional[LeashError]:
        """Why it ended, as an exception; None after `close`."""
        return from_status(self.status, self.text) if self.status else None

    def __str__(self) -> str:
        ends = [self.text] if self.text else []
        if self.exit_code is not None:
            ends.append(f"exit code {self.exit_code}")
        if self.exit_signal is not None:
            ends.append(signal.Signals(self.exit_signal).name)
        if self.stage:
            ends.append(f"after SIG{self.stage.name}")
        return "closed: " + ", ".join(ends)


@dataclass(frozen=True)
class Response(Event):
    """A call ended. Only inside of the clients; a host sees results and exceptions."""

    call: int
    tag: int
    _pointer: EventPointer = field(repr=False, compare=False)


def number(pointer: EventPointer, name: int) -> Optional[int]:
    value: int = event_int(pointer, name)
    return None if value == _abi.LEASH_NONE else value


def count(pointer: EventPointer, name: int) -> int:
    return number(pointer, name) or 0


def content(pointer: EventPointer, name: int) -> Optional[bytes]:
    found: Optional[bytes] = event_bytes(pointer, name, None)
    return found


def words(pointer: EventPointer, name: int) -> str:
    found = content(pointer, name)
    return "" if found is None else found.decode()


def outcome(pointer: EventPointer, raw: bool) -> Any:
    """The result of a RESPONSE, parsed or as text; or its error, raised."""
    status = event_int(pointer, _abi.LEASH_INT_STATUS)
    if status == 0:
        json: Optional[bytes] = event_bytes(pointer, _abi.LEASH_STR_JSON, None)
        if raw:
            return b"null" if json is None else json
        return _json.parse(json)
    if status == _abi.LEASH_E_RPC:
        code = number(pointer, _abi.LEASH_INT_RPC_CODE)
        message = words(pointer, _abi.LEASH_STR_TEXT)
        data = content(pointer, _abi.LEASH_STR_JSON)
        raise RpcError(code, message, data if raw else _json.parse(data))
    if status == _abi.LEASH_E_TIMEOUT:
        raise CallTimeout("no answer came in time")
    raise from_status(status, words(pointer, _abi.LEASH_STR_TEXT))


AnyEvent = Union[Opened, Notification, Request, StderrLine, Noise, Closed]


def _opened(pointer: EventPointer, seq: int) -> Event:
    return Opened(seq)


def _response(pointer: EventPointer, seq: int) -> Event:
    call, tag = count(pointer, _abi.LEASH_INT_CALL), count(pointer, _abi.LEASH_INT_TAG)
    return Response(seq, call, tag, pointer)


def _notification(pointer: EventPointer, seq: int) -> Event:
    method: bytes = event_bytes(pointer, _abi.LEASH_STR_METHOD, None)
    return Notification(seq, method.decode(), event_bytes(pointer, _abi.LEASH_STR_JSON, None))


def _request(pointer: EventPointer, seq: int) -> Event:
    method = words(pointer, _abi.LEASH_STR_METHOD)
    peer_id = content(pointer, _abi.LEASH_STR_PEER_ID) or b"null"
    return Request(seq, method, content(pointer, _abi.LEASH_STR_JSON), peer_id, pointer)


def _stderr(pointer: EventPointer, seq: int) -> Event:
    return StderrLine(
        seq, words(pointer, _abi.LEASH_STR_TEXT), count(pointer, _abi.LEASH_INT_DROPPED)
    )


def _noise(pointer: EventPointer, seq: int) -> Event:
    return Noise(seq, words(pointer, _abi.LEASH_STR_TEXT))


def _closed(pointer: EventPointer, seq: int) -> Event:
    stage = number(pointer, _abi.LEASH_INT_STAGE)
    return Closed(
        seq,
        status=count(pointer, _abi.LEASH_INT_STATUS),
        text=words(pointer, _abi.LEASH_STR_TEXT),
        exit_code=number(pointer, _abi.LEASH_INT_EXIT_CODE),
        exit_signal=number(pointer, _abi.LEASH_INT_EXIT_SIGNAL),
        stage=None if stage is None else Stage(stage),
        killed=count(pointer, _abi.LEASH_INT_KILLED),
        left=count(pointer, _abi.LEASH_INT_LEFT),
        discarded=count(pointer, _abi.LEASH_INT_DISCARDED),
        dropped=count(pointer, _abi.LEASH_INT_DROPPED),
        close_code=number(pointer, _abi.LEASH_INT_CLOSE_CODE),
        errno=number(pointer, _abi.LEASH_INT_OS_ERROR),
    )


_KINDS: Dict[int, Callable[[EventPointer, int], Event]] = {
    _abi.LEASH_EVENT_OPEN: _opened,
    _abi.LEASH_EVENT_RESPONSE: _response,
    _abi.LEASH_EVENT_NOTIFY: _notification,
    _abi.LEASH_EVENT_REQUEST: _request,
    _abi.LEASH_EVENT_STDERR: _stderr,
    _abi.LEASH_EVENT_NOISE: _noise,
    _abi.LEASH_EVENT_CLOSED: _closed,
}


def event(pointer: EventPointer) -> Optional[Event]:
    """What C gave, as Python has it; None for a kind that is newer than this."""
    make = _KINDS.get(event_kind(pointer))
    return None if make is None else make(pointer, event_int(pointer, _abi.LEASH_INT_SEQ))
