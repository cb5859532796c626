"""What both clients stand on: the handle, its end, and what was not taken yet."""

from __future__ import annotations

import atexit
import os
import threading
import time
import warnings
import weakref
from collections import deque
from ctypes import byref, c_int64, c_size_t, c_void_p
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Deque,
    Dict,
    List,
    Mapping,
    Optional,
    Sequence,
    TypeVar,
    overload,
)

from . import _abi
from ._errors import CloseTimeout
from ._events import AnyEvent, Event, Notification, Request, StderrLine, event
from ._library import (
    NOW,
    QUICK_MAX,
    EventPointer,
    check,
    failure,
    milliseconds,
    poll_at_once,
    quick,
    run_signal_handlers,
    submit_large,
    submit_quick,
    wait,
)
from ._options import FewNeed, Options, PathLike, Protocol, check_timeout, text

if TYPE_CHECKING:
    from typing_extensions import Unpack

DEFAULT_QUEUE = 4096
#: Calls whose answer sits behind unread events fail after this many seconds, as in C.
STALL = 1.0
NO_LIMIT = c_int64(-1)
_DEFAULT_GRACE = 2.0

Handler = Callable[[Any], Any]
H = TypeVar("H", bound=Handler)


class Connection:
    """A `leash_conn`. It is freed with this object, so that no call can be running then."""

    def __init__(self, options: Options, timeout: Optional[float]) -> None:
        self._address: Optional[int] = None
        until = None if timeout is None else time.monotonic() + timeout
        while self._address is None:
            left = None if until is None else max(0.0, until - time.monotonic())
            try:
                self._address = options.connect(left)
            except Exception as error:
                # Nothing was sent yet: begin again.
                if getattr(error, "status", None) != _abi.LEASH_E_INTERRUPTED:
                    raise
                run_signal_handlers()
        #: The same for functions that take C values.
        self.handle = c_void_p(self._address)
        graces = [options.exit_after, options.kill_after]
        #: How long a teardown may take.
        self.bound = 1.0 + sum(_DEFAULT_GRACE if grace is None else grace for grace in graces)
        self.is_closed = False
        _alive.add(self)

    @property
    def is_freed(self) -> bool:
        """As a collector may do before it comes to those who refer to this."""
        return self._address is None

    @property
    def address(self) -> int:
        assert self._address is not None
        return self._address

    def submit(
        self, method: bytes, params: Optional[bytes], limit: c_int64, tag: c_int64, to: c_int64
    ) -> None:
        length = 0 if params is None else len(params)
        submit = submit_quick if length <= QUICK_MAX else submit_large
        status = submit(self.handle, method, params, c_size_t(length), limit, tag, byref(to))
        if status < 0:
            raise failure(status)

    def notify(self, method: bytes, params: Optional[bytes]) -> None:
        length = 0 if params is None else len(params)
        functions = quick if length <= QUICK_MAX else wait
        check(functions.notify(self._address, method, params, length))

    def take(self) -> Optional[Event]:
        """The next event, if it is there. ClosedError: there will be none."""
        while True:
            pointer = EventPointer()
            status = poll_at_once(self.handle, NOW, byref(pointer))
            if status == 1:
                found = event(pointer)
                if found is not None:
                    return found
            elif status == 0 or status == _abi.LEASH_E_INTERRUPTED:
                return None
            else:
                raise failure(status)

    def cancel(self, call: int) -> bool:
        """Give up on a call. False: it has ended."""
        status = quick.cancel(self._address, call)
        if status != _abi.LEASH_E_STATE:
            check(status)
        return bool(status == 0)

    def number(self, name: int) -> Optional[int]:
        value: int = quick.conn_int(self._address, name)
        return None if value == _abi.LEASH_NONE else value

    def begin_closing(self) -> None:
        status = quick.close(self._address, 0)
        self.is_closed = status in (_abi.LEASH_OK, _abi.LEASH_E_LEFT, _abi.LEASH_E_FORKED)

    def close(self, timeout: Optional[float]) -> None:
        until = None if timeout is None else time.monotonic() + check_timeout(timeout)
        while True:
            left = -1 if until is None else milliseconds(until - time.monotonic())
            status = wait.close(self._address, left)
            if status == _abi.LEASH_E_INTERRUPTED:
                run_signal_handlers()
                continue
            self.is_closed = status in (_abi.LEASH_OK, _abi.LEASH_E_LEFT)
            if status == _abi.LEASH_E_TIMEOUT:
                raise CloseTimeout(str(failure(status)))
            check(status)
            return

    def __del__(self) -> None:
        address, self._address = getattr(self, "_address", None), None
        if address is None:
            return
        if self.is_closed or quick.close(address, 0) != _abi.LEASH_E_TIMEOUT:
            wait.free(address)
        else:
            # The teardown runs by itself. To wait for it here would hold up
            # whoever dropped the last reference.
            _orphans.append(address)

    def __reduce__(self) -> Any:
        raise TypeError("a connection cannot be pickled: connect in the process that uses it")


_alive: "weakref.WeakSet[Connection]" = weakref.WeakSet()
#: Connections that were dropped while they were being torn down.
_orphans: List[int] = []


def tidy() -> None:
    """Free the orphans whose teardown is over."""
    for _ in range(len(_orphans)):
        address = _orphans.pop()
        if quick.close(address, 0) == _abi.LEASH_E_TIMEOUT:
            _orphans.insert(0, address)
        else:
            wait.free(address)


def _at_exit() -> None:
    """End what is open, all at once, and wait no longer than the slowest may take.

    Nothing is freed: other threads may still be in a call.
    """
    connections = [connection for connection in _alive if not connection.is_closed]
    for connection in connections:
        connection.begin_closing()
    until = time.monotonic() + max([connection.bound for connection in connections], default=0)
    for address in [c.address for c in connections if not c.is_closed] + _orphans:
        left = milliseconds(until - time.monotonic())
        while wait.close(address, left) == _abi.LEASH_E_INTERRUPTED:
            run_signal_handlers()
            left = milliseconds(until - time.monotonic())


def _in_forked_child() -> None:
    # The library answers every call with LEASH_E_FORKED by now. What remains is
    # not to hang on the way to it, on a lock that a thread held who is not here.
    _orphans.clear()
    for connection in list(_alive):
        connection.is_closed = True
    for client in list(_clients):
        client._forked()


class _Base:
    """What `Client` and `AsyncClient` share."""

    _connection: Optional[Connection]

    def __init__(
        self,
        argv: Optional[Sequence[PathLike]] = None,
        *,
        url: Optional[str] = None,
        environment: Optional[str] = None,
        config: Optional[PathLike] = None,
        env: Optional[Mapping[str, Optional[str]]] = None,
        inherit_env: bool = True,
        cwd: Optional[PathLike] = None,
        headers: Optional[Mapping[str, str]] = None,
        token: Optional[str] = None,
        protocol: Protocol = "jsonrpc",
        timeout: Optional[float] = 30.0,
        connect_timeout: Optional[float] = None,
        raw: bool = False,
        **options: Unpack[FewNeed],
    ) -> None:
        """Start the server `argv`, or dial `url`, or the `environment` of a `config` file.

        `env` changes the inherited environment: a value of None removes a variable. `timeout` is
        for calls that name none, in seconds; None is no limit. `options` are `stderr`,
        `max_message`, `queue_events`, `queue_bytes`, `send_bytes`, `exit_after`, `kill_after`,
        `ping_every`, `cork`, `ca_file`, `cert_file` and `key_file`.

        SpawnError (an OSError with errno), ConnectError, ConnectTimeout, InvalidError: from here,
        of an `AsyncClient` from `open`.
        """
        self._connection = None
        self._options = Options(
            argv, url, environment, config, env, inherit_env, cwd, headers, token,
            protocol=protocol, **options,
        )  # fmt: skip
        self._timeout = float("inf") if timeout is None else check_timeout(timeout)
        self._limit = call_limit(self._timeout)
        if connect_timeout is not None:
            check_timeout(connect_timeout, "connect_timeout")
        self._raw = raw
        self._methods = Methods()
        self._on_request: Dict[str, Handler] = {}
        self._on_notification: Dict[str, Handler] = {}
        self._inbox = Inbox(self._options.queue_events or DEFAULT_QUEUE)
        #: What the server said to `initialize`, after a handshake.
        self.initialize_result: Any = None
        _clients.add(self)
        self._set_up(connect_timeout)

    def _set_up(self, connect_timeout: Optional[float]) -> None:
        """What a kind of client needs besides."""
        raise NotImplementedError

    def _forked(self) -> None:
        pass

    @property
    def pid(self) -> Optional[int]:
        """The server's process id, which is also its process-group id."""
        return self._open_connection().number(_abi.LEASH_INT_PID)

    @property
    def pending(self) -> int:
        """Calls without a response."""
        return self._open_connection().number(_abi.LEASH_INT_PENDING) or 0

    def _open_connection(self) -> Connection:
        raise NotImplementedError

    @overload
    def on_request(self, method: str) -> Callable[[H], H]: ...

    @overload
    def on_request(self, method: str, handler: H) -> H: ...

    def on_request(self, method: str, handler: Optional[Handler] = None) -> Any:
        """Answer the peer's requests called `method` with what `handler(request)` returns.

        "*" is every method that has no handler. A handler that raises RpcError refuses with it.
        Without `handler` this is a decorator.
        """
        return _register(self._on_request, method, handler)

    @overload
    def on_notification(self, method: str) -> Callable[[H], H]: ...

    @overload
    def on_notification(self, method: str, handler: H) -> H: ...

    def on_notification(self, method: str, handler: Optional[Handler] = None) -> Any:
        """Give the peer's notifications called `method` to `handler(notification)`.

        They do not come out of `poll` and `events` then. Otherwise as `on_request`.
        """
        return _register(self._on_notification, method, handler)

    def _handler(self, event: Event) -> Optional[Handler]:
        if isinstance(event, Request):
            return self._on_request.get(event.method) or self._on_request.get("*")
        if isinstance(event, Notification):
            return self._on_notification.get(event.method) or self._on_notification.get("*")
        return None

    def __reduce__(self) -> Any:
        raise TypeError("a client cannot be pickled: connect in the process that uses it")


class Methods(Dict[str, bytes]):
    """The names of methods as C has them."""

    def __missing__(self, method: str) -> bytes:
        encoded = text(method, "method")
        if len(self) < 1024:
            self[method] = encoded
        return encoded


_clients: "weakref.WeakSet[_Base]" = weakref.WeakSet()


def _register(handlers: Dict[str, Handler], method: str, handler: Optional[Handler]) -> Any:
    def add(handler: Handler) -> Handler:
        handlers[method] = handler
        return handler

    return add if handler is None else add(handler)


class Inbox:
    """Events that were read while something else was waited for. Bounded as the library's
    own queue is: the oldest lines of stderr make room, nothing else is ever dropped."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.events: Deque[AnyEvent] = deque()
        self._lines = 0
        self._dropped = 0
        #: How many events were taken from here.
        self.taken = 0
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self.events)

    def is_full(self) -> bool:
        return len(self.events) - self._lines >= self.limit

    def put(self, event: Any) -> None:
        if isinstance(event, StderrLine):
            with self._lock:
                if self._lines >= self.limit:
                    self._drop_a_line()
                self._lines += 1
        # The last step, which calls no function: see `Client`.
        self.events += (event,)

    def put_back(self, event: AnyEvent) -> None:
        """One that was taken, and did not arrive."""
        with self._lock:
            self._lines += isinstance(event, StderrLine)
            self.events.appendleft(event)

    def _drop_a_line(self) -> None:
        for index, found in enumerate(self.events):
            if isinstance(found, StderrLine):
                del self.events[index]
                self._lines -= 1
                self._dropped += 1 + found.dropped
                return

    def get(self) -> Optional[AnyEvent]:
        given: List[AnyEvent] = []
        return given[0] if self.move(given) else None

    def move(self, given: List[AnyEvent]) -> bool:
        """Put the oldest event into `given`. False: there is none."""
        with self._lock:
            if not self.events:
                return False
            event = self.events[0]
            self.taken += 1
            if isinstance(event, StderrLine):
                self._lines -= 1
                if self._dropped:
                    dropped, self._dropped = self._dropped + event.dropped, 0
                    event = StderrLine(event.seq, event.text, dropped)
            # In one step, as in `put`.
            given += (event,)
            del self.events[0]
            return True

    def forked(self) -> None:
        self._lock = threading.RLock()


def call_limit(limit: float) -> c_int64:
    """A call's own limit, as the library takes it."""
    milli = milliseconds(limit)
    # 0 would be an error there.
    return NO_LIMIT if milli < 0 else c_int64(max(1, milli))


def warn_unclosed(client: object) -> None:
    warnings.warn(f"unclosed {client!r}", ResourceWarning, source=client, stacklevel=3)


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_forked_child)
