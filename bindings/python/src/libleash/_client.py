"""The client for threads."""

from __future__ import annotations

import logging
import threading
import time
from ctypes import byref, c_int64
from types import TracebackType
from typing import (
    Any,
    Callable,
    Dict,
    Iterator,
    Literal,
    Optional,
    Set,
    Type,
    TypeVar,
    overload,
)

from . import _abi, _json
from ._connection import (
    NO_LIMIT,
    Connection,
    _Base,
    call_limit,
    check_timeout,
    tidy,
    warn_unclosed,
)
from ._errors import CallTimeout, ClosedError, FullError, RpcError, StateError
from ._events import AnyEvent, Event, Request, Response, event, outcome
from ._library import (
    NAP,
    NAP_MS,
    NOW,
    EventPointer,
    failure,
    milliseconds,
    nap,
    poll_at_once,
    poll_for,
    quick,
    run_signal_handlers,
    wait_at_once,
    wait_for,
)

T = TypeVar("T")
C = TypeVar("C", bound="Client")

log = logging.getLogger("libleash")

_NO_TAG = c_int64(0)


class Client(_Base):
    """A JSON-RPC server on a leash, for programs without asyncio.

    Any method may be called from any thread. There is no thread of its own: handlers run, one event
    after the other, in whatever thread is waiting in `call`, `poll`, `events`, `wait_for` or a
    call's `result`.
    """

    def _set_up(self, connect_timeout: Optional[float]) -> None:
        self._pump_lock = threading.Lock()
        self._change_lock = threading.Lock()
        self._changed = threading.Condition(self._change_lock)
        #: How often something was found, and how many threads wait for that.
        self._changes = 0
        self._waiting = 0
        #: Wakes of our own that no poll has seen.
        self._nudges = 0
        #: Responses that a pump took, for those who wait for them.
        self._answers: Dict[int, EventPointer] = {}
        #: Calls whose answer nobody wants.
        self._abandoned: Set[int] = set()
        #: Wakes that no poll has seen; whether one was seen, but not by a `poll`.
        self._wakes = 0
        self._was_woken = False
        self._is_over = False
        tidy()
        self._connection = Connection(self._options, connect_timeout)

    def _open_connection(self) -> Connection:
        connection = self._connection
        if connection is None:
            raise StateError("the client was not opened")
        return connection

    # ---- Calls

    @overload
    def call(
        self,
        method: str,
        params: Any = None,
        *,
        timeout: Optional[float] = None,
        raw: Literal[True],
    ) -> bytes: ...

    @overload
    def call(
        self,
        method: str,
        params: Any = None,
        *,
        timeout: Optional[float] = None,
        raw: Optional[bool] = None,
    ) -> Any: ...

    def call(
        self,
        method: str,
        params: Any = None,
        *,
        timeout: Optional[float] = None,
        raw: Optional[bool] = None,
    ) -> Any:
        """Call a method and give back its result; with `raw` as bytes, as the peer wrote it.

        `params` is a mapping, a sequence, JSON text as bytes, or None to send none. RpcError,
        CallTimeout, ClosedError, FullError; KeyboardInterrupt and what else a signal handler
        raises. Whatever is raised, the call has ended then and the peer was told, if the protocol
        can.
        """
        limit = self._timeout if timeout is None else check_timeout(timeout)
        call = c_int64()
        try:
            self._open_connection().submit(
                self._methods[method], _json.params_of(params), NO_LIMIT, _NO_TAG, call
            )
            pointer = self._answer(call, limit)
            if pointer is None:
                raise CallTimeout("no answer came in time")
        except BaseException:
            if call.value:
                self._give_up(call.value)
            raise
        return outcome(pointer, self._raw if raw is None else raw)

    def submit(self, method: str, params: Any = None, *, timeout: Optional[float] = None) -> "Call":
        """Send a request without waiting. The `timeout` runs from now."""
        limit = self._limit if timeout is None else call_limit(check_timeout(timeout))
        call = c_int64()
        if len(self._abandoned) > 64:
            self._sweep()
        self._open_connection().submit(
            self._methods[method], _json.params_of(params), limit, _NO_TAG, call
        )
        return Call(self, call, method)

    def notify(self, method: str, params: Any = None) -> None:
        """Send a notification. ClosedError, FullError, TooBigError."""
        self._open_connection().notify(self._methods[method], _json.params_of(params))

    def flush(self) -> None:
        """Send what `cork` has collected."""
        status = quick.flush(self._open_connection().address)
        if status < 0:
            raise failure(status)

    def _answer_at_once(self, call: c_int64) -> Optional[EventPointer]:
        """The response of `call`, if it is there, without giving the GIL away."""
        if self._on_request or self._on_notification:
            return None
        pointer = EventPointer()
        status = wait_at_once(self._open_connection().handle, call, NOW, byref(pointer))
        return pointer if status == 1 else None

    def _answer(self, call: c_int64, limit: float) -> Optional[EventPointer]:
        """The response of `call`; None when `limit` passes."""
        if self._on_request or self._on_notification:
            return self._pump(lambda: self._answers.pop(call.value, None), limit)
        pointer = EventPointer()
        handle = self._open_connection().handle
        until = time.monotonic() + limit
        # Most answers come within the first nap, whoever waits.
        milli = NAP_MS if limit > NAP else c_int64(milliseconds(limit))
        while True:
            status = wait_for(handle, call, milli, byref(pointer))
            if status == 1:
                return pointer
            if status == _abi.LEASH_E_STATE:
                # A pump in another thread took it, and will leave it here.
                return self._pump(lambda: self._answers.pop(call.value, None), 5.0)
            if status == _abi.LEASH_E_INTERRUPTED:
                run_signal_handlers()
            elif status != 0:
                raise failure(status)
            left = until - time.monotonic()
            if status == 0 and left <= 0:
                return None
            milli = c_int64(milliseconds(nap(left)))

    def _give_up(self, call: int) -> None:
        """End a call and forget its response, wherever that is."""
        connection = self._open_connection()
        connection.cancel(call)
        if quick.wait(connection.address, call, 0, byref(EventPointer())) != 1:
            with self._changed:
                if self._answers.pop(call, None) is None:
                    self._abandoned.add(call)

    def _abandon(self, call: int) -> None:
        """Nobody will ask for this response."""
        connection = self._connection
        if connection is None or self._answers.pop(call, None) is not None:
            return
        if quick.wait(connection.address, call, 0, byref(EventPointer())) != 1:
            self._abandoned.add(call)

    def _sweep(self) -> None:
        for call in list(self._abandoned):
            if quick.wait(self._open_connection().address, call, 0, byref(EventPointer())) == 1:
                self._abandoned.discard(call)

    # ---- Events

    def poll(self, timeout: Optional[float] = None) -> Optional[AnyEvent]:
        """The next event; None when `timeout` passes (None: no limit), or after `wake`.

        Handlers run here. ClosedError: the last event, `Closed`, was taken.
        """
        limit = float("inf") if timeout is None else check_timeout(timeout)

        return self._pump(self._next, limit, wants_events=True) or None

    def _next(self) -> Optional[Any]:
        """What a `poll` is to give back: an event that was kept, or False for a wake."""
        event = self._inbox.get()
        if event is None and self._was_woken:
            self._was_woken = False
            return False
        return event

    def events(self, timeout: Optional[float] = None) -> Iterator[AnyEvent]:
        """Events until `Closed`, which is the last one.

        Ends early when none comes for `timeout` seconds. A loop's variable keeps its event until
        the next one has come: to refuse a Request at once, `del` it or use `reply_error`.
        """
        while not self._is_over or self._inbox:
            try:
                # In a list, so that this frame does not hold what the loop has dropped.
                taken = [self.poll(timeout)]
            except ClosedError:
                return
            if taken[0] is None:
                return
            yield taken.pop()  # type: ignore[misc]

    __iter__ = events

    def wait_for(self, ready: Callable[[], Optional[T]], timeout: Optional[float] = None) -> T:
        """Run handlers until `ready()` gives something else than None, and give that back.

        Events that have no handler are kept for `poll`. CallTimeout, ClosedError; FullError when
        too many are kept.
        """
        found = self._pump(ready, self._timeout if timeout is None else check_timeout(timeout))
        if found is None:
            raise CallTimeout("what was waited for did not come in time")
        return found

    def wake(self) -> None:
        """Make one `poll`, running or next, return None."""
        self._wakes += 1
        status = quick.wake(self._open_connection().address)
        if status < 0:
            raise failure(status)

    def fileno(self) -> int:
        """A descriptor for `select`: readable while events wait to be taken.

        Before waiting on it see that `poll(0)` is None. Never read or close it.
        """
        fd: int = quick.fd(self._open_connection().address)
        if fd < 0:
            raise failure(fd)
        return fd

    def _pump(
        self, ready: Callable[[], Optional[T]], limit: float, wants_events: bool = False
    ) -> Optional[T]:
        """Take events, and run handlers, until `ready()` is not None; None after `limit`.

        Of several threads one takes events, the others wait for what it finds. With `wants_events`
        an event that has no handler is given back itself.
        """
        until = time.monotonic() + limit
        while True:
            changes = self._changes
            if not self._pump_lock.acquire(False):
                found = ready()
                left = until - time.monotonic()
                if found is not None or left <= 0:
                    return found
                self._wait_for_change(changes, left)
                continue
            event: Any = None
            handler = None
            try:
                found = ready()
                if found is not None:
                    return found
                if self._inbox.is_full():
                    raise FullError("too many events are unread: take some with poll")
                event = self._take(until)
                if event is not None:
                    handler = self._handler(event)
                    if handler is None:
                        if wants_events and not isinstance(event, Response):
                            return event  # type: ignore[no-any-return]
                        # Before another thread takes events: it may be waiting for this.
                        self._keep(event)
            finally:
                self._pump_lock.release()
                self._tell()
            if handler is not None:
                try:
                    run(handler, event)
                finally:
                    self._tell_all()
            elif event is None and until <= time.monotonic():
                return ready()

    def _wait_for_change(self, seen: int, limit: float) -> None:
        """Wait while another thread takes events, and nothing has changed since `seen`."""
        with self._changed:
            if self._changes == seen and self._pump_lock.locked():
                self._waiting += 1
                try:
                    self._changed.wait(min(limit, threading.TIMEOUT_MAX))
                finally:
                    self._waiting -= 1

    def _tell(self) -> None:
        """Let the threads that wait look again."""
        with self._change_lock:
            self._changes += 1
            if self._waiting:
                self._changed.notify_all()

    def _tell_all(self) -> None:
        """The same after a handler, which may have changed anything: also the thread that takes
        events is to look."""
        self._tell()
        if self._pump_lock.locked():
            with self._changed:
                self._nudges += 1
            quick.wake(self._open_connection().address)

    def _take(self, until: float) -> Optional[Event]:
        """The next event of the library; None at the time `until`, on a signal or wake."""
        pointer = EventPointer()
        handle = self._open_connection().handle
        # One that is there already comes without giving the GIL away.
        status = poll_at_once(handle, NOW, byref(pointer))
        while status == 0:
            left = until - time.monotonic()
            if left <= 0:
                return None
            status = poll_for(handle, c_int64(milliseconds(nap(left))), byref(pointer))
        if status == 1:
            return event(pointer)
        if status == _abi.LEASH_E_INTERRUPTED:
            run_signal_handlers()
            with self._changed:
                was_nudged = self._nudges > 0
                self._nudges -= was_nudged
            if was_nudged:
                # There may be an event all the same.
                return self._take(0.0)  # A time long past.
            if self._wakes:
                self._wakes -= 1
                self._was_woken = True
            return None
        if status == _abi.LEASH_E_CLOSED:
            self._is_over = True
        raise failure(status)

    def _keep(self, event: Event) -> None:
        """Leave an event that has no handler for those who want it."""
        if not isinstance(event, Response):
            self._inbox.put(event)
            return
        with self._changed:
            if event.call in self._abandoned:
                self._abandoned.discard(event.call)
            else:
                self._answers[event.call] = event._pointer

    # ---- The end

    def close(self, timeout: Optional[float] = None) -> None:
        """Tear down, and wait until nothing of the server is left, however it resists.

        Pending calls end with ClosedError. Idempotent, from any thread. Unread events can still be
        taken. CloseTimeout: it goes on by itself. LeftError.
        """
        if self._connection is not None:
            self._connection.close(timeout)

    @property
    def is_closed(self) -> bool:
        """Whether `close` has seen the end of the teardown."""
        return self._connection is None or self._connection.is_closed

    def __enter__(self: C) -> C:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<libleash.Client {'closed' if self.is_closed else 'open'} at {id(self):#x}>"

    def __del__(self) -> None:
        connection = getattr(self, "_connection", None)
        if connection is not None and not connection.is_closed:
            warn_unclosed(self)

    def _forked(self) -> None:
        self._pump_lock = threading.Lock()
        self._change_lock = threading.Lock()
        self._changed = threading.Condition(self._change_lock)
        self._waiting = 0


class Call:
    """A request that was submitted. Its answer is waited for with `result`, by any thread."""

    def __init__(self, client: Client, number: c_int64, method: str) -> None:
        self._client = client
        self._number = number
        self._method = method
        self._lock = threading.Lock()
        self._pointer: Optional[EventPointer] = None

    @overload
    def result(self, timeout: Optional[float] = None, *, raw: Literal[True]) -> bytes: ...

    @overload
    def result(self, timeout: Optional[float] = None, *, raw: Optional[bool] = None) -> Any: ...

    def result(self, timeout: Optional[float] = None, *, raw: Optional[bool] = None) -> Any:
        """The result of the call, or its error raised.

        CallTimeout: the call's own time is over, or it has no answer after `timeout` seconds; in
        the second case it goes on (`done()` is False) and may be asked again.
        """
        limit = float("inf") if timeout is None else check_timeout(timeout)
        pointer = self._wait(limit)
        if pointer is None:
            raise CallTimeout("no answer so far")
        return outcome(pointer, self._client._raw if raw is None else raw)

    def exception(self, timeout: Optional[float] = None) -> Optional[Exception]:
        """What `result` would raise; None when it would not."""
        try:
            self.result(timeout, raw=True)
        except Exception as error:
            if self._pointer is None:
                raise
            return error
        return None

    def done(self) -> bool:
        """Whether `result` would not wait."""
        return self._wait(0.0) is not None

    def cancel(self) -> bool:
        """Give up: `result` raises CallCancelled now. False: it has ended already."""
        return self._client._open_connection().cancel(self._number.value)

    def _wait(self, limit: float) -> Optional[EventPointer]:
        if self._pointer is None:
            if not self._lock.acquire(False):
                until = time.monotonic() + limit
                if not self._lock.acquire(timeout=min(limit, threading.TIMEOUT_MAX)):
                    return self._pointer
                limit = max(0.0, until - time.monotonic())
            try:
                if self._pointer is None:
                    client, call = self._client, self._number
                    self._pointer = client._answer_at_once(call) or client._answer(call, limit)
            finally:
                self._lock.release()
        return self._pointer

    def __repr__(self) -> str:
        return f"<libleash.Call {self._number.value} {self._method}>"

    def __del__(self) -> None:
        if getattr(self, "_pointer", self) is None:
            self._client._abandon(self._number.value)


def run(handler: Callable[[Any], Any], event: Event) -> None:
    """Run a handler, and answer with what comes of it."""
    try:
        result = handler(event)
    except RpcError as error:
        refuse(event, error)
    except Exception as error:
        log.exception("a handler failed")
        refuse(event, error)
    else:
        if isinstance(event, Request):
            answer(event, result)


def answer(request: Request, result: Any) -> None:
    """Answer, unless the handler did, or nobody is there any more."""
    try:
        request.reply(result)
    except (StateError, ClosedError):
        pass
    except Exception as error:
        log.exception("the result of a handler cannot be sent")
        refuse(request, error)


def refuse(event: Event, error: Exception) -> None:
    if not isinstance(event, Request):
        return
    try:
        if isinstance(error, RpcError):
            code = -32603 if error.code is None else error.code
            event.reply_error(code, error.message, error.data)
        else:
            # Not its text, which may hold anything.
            event.reply_error(-32603, f"the handler failed: {type(error).__name__}")
    except (StateError, ClosedError, FullError):
        pass
