"""What can go wrong, as exceptions."""

from __future__ import annotations

import os
from typing import Any, Dict, Optional, Type

from . import _abi


class LeashError(Exception):
    """Any failure of libleash. `status` is its `leash_code`, `text` says what failed."""

    status: int = _abi.LEASH_E_INTERNAL
    text: str

    def __init__(self, text: str, status: Optional[int] = None) -> None:
        super().__init__(text)
        self.text = text
        if status is not None:
            self.status = status

    def __str__(self) -> str:
        return self.text


class InvalidError(LeashError, ValueError):
    """A bad argument, option or JSON text."""

    status = _abi.LEASH_E_INVALID


class UnsupportedError(LeashError):
    """The library in use does not know this."""

    status = _abi.LEASH_E_UNSUPPORTED


class ConnectError(LeashError, OSError):
    """The connection could not be made. `errno` says why, if the system told."""

    status = _abi.LEASH_E_CONNECT

    def __init__(
        self, text: str, status: Optional[int] = None, errno: Optional[int] = None
    ) -> None:
        super().__init__(text, status)
        if errno:
            self.errno = errno
            self.strerror = os.strerror(errno)

    def __reduce__(self) -> Any:
        # That of an OSError knows nothing of these.
        return type(self), (self.text, self.status, self.errno)


class SpawnError(ConnectError):
    """The server could not be started."""


class ConnectTimeout(ConnectError, TimeoutError):
    """The server was not started, or not reached, in time.

    The `initialize` that `connect` sends is a call: it ends with CallTimeout.
    """

    status = _abi.LEASH_E_TIMEOUT


class CallTimeout(LeashError, TimeoutError):
    """No answer came in time. The peer was told that nobody waits any more."""

    status = _abi.LEASH_E_TIMEOUT


class CloseTimeout(LeashError, TimeoutError):
    """The teardown is still running. It goes on by itself."""

    status = _abi.LEASH_E_TIMEOUT


class CallCancelled(LeashError):
    """The call was cancelled."""

    status = _abi.LEASH_E_CANCELLED


class ClosedError(LeashError, ConnectionError):
    """The connection has ended."""

    status = _abi.LEASH_E_CLOSED


class RpcError(LeashError):
    """The peer answered with a JSON-RPC error.

    A handler of `on_request` may raise one: it becomes the answer.
    """

    status = _abi.LEASH_E_RPC

    def __init__(self, code: Optional[int], message: str, data: Any = None) -> None:
        super().__init__(message)
        #: The JSON-RPC error code; None if the peer gave none.
        self.code = code
        self.message = message
        self.data = data
        self.args = (code, message, data)

    def __str__(self) -> str:
        return self.message if self.code is None else f"{self.message} ({self.code})"


class ProtocolError(LeashError):
    """The peer broke the framing, or sent JSON that cannot be parsed."""

    status = _abi.LEASH_E_PROTOCOL


class TooBigError(LeashError):
    """A message is larger than `max_message`, or than `send_bytes`."""

    status = _abi.LEASH_E_TOO_BIG


class FullError(LeashError):
    """The send buffer is full, or an answer sits behind events that nobody takes."""

    status = _abi.LEASH_E_FULL


class StateError(LeashError):
    """Already answered, already taken, or not open."""

    status = _abi.LEASH_E_STATE


class ForkedError(LeashError):
    """This process is a forked copy of the one that uses libleash."""

    status = _abi.LEASH_E_FORKED


class InternalError(LeashError):
    """A bug in libleash. The connection is closed."""

    status = _abi.LEASH_E_INTERNAL


class NoMemoryError(LeashError, MemoryError):
    """Memory for a message, or a descriptor to wait on, could not be had."""

    status = _abi.LEASH_E_NO_MEMORY


class LeftError(LeashError):
    """Torn down, but some processes belong to a user whom we may not signal."""

    status = _abi.LEASH_E_LEFT


# CallTimeout, SpawnError and RpcError are raised where more is known than a code.
CLASSES: Dict[int, Type[LeashError]] = {
    _abi.LEASH_E_INVALID: InvalidError,
    _abi.LEASH_E_UNSUPPORTED: UnsupportedError,
    _abi.LEASH_E_CONNECT: ConnectError,
    _abi.LEASH_E_TIMEOUT: CallTimeout,
    _abi.LEASH_E_CANCELLED: CallCancelled,
    _abi.LEASH_E_CLOSED: ClosedError,
    _abi.LEASH_E_PROTOCOL: ProtocolError,
    _abi.LEASH_E_TOO_BIG: TooBigError,
    _abi.LEASH_E_FULL: FullError,
    _abi.LEASH_E_STATE: StateError,
    _abi.LEASH_E_FORKED: ForkedError,
    _abi.LEASH_E_INTERNAL: InternalError,
    _abi.LEASH_E_NO_MEMORY: NoMemoryError,
    _abi.LEASH_E_LEFT: LeftError,
}


def from_status(status: int, text: str) -> LeashError:
    """The exception of a `leash_code`; one that is newer than this is a LeashError."""
    return CLASSES.get(status, LeashError)(text, status)
