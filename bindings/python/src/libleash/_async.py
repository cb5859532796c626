"""The client for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
import weakref
from collections import deque
from ctypes import c_int64
from types import TracebackType
from typing import (
    Any,
    AsyncIterator,
    Deque,
    Dict,
    Literal,
    Optional,
    Set,
    Type,
    TypeVar,
    overload,
)

from . import _json
from ._client import answer, log, refuse
from ._connection import (
    STALL,
    Connection,
    _Base,
    call_limit,
    tidy,
    warn_unclosed,
)
from ._errors import (
    ClosedError,
    CloseTimeout,
    ConnectError,
    ConnectTimeout,
    FullError,
    LeashError,
    LeftError,
    RpcError,
    SpawnError,
    StateError,
)
from ._events import AnyEvent, Closed, Event, Opened, Request, Response, outcome
from ._library import EventPointer, failure, quick
from ._options import check_timeout, environment_timeout

A = TypeVar("A", bound="AsyncClient")

# The loop gets a turn after this many events, or this long.
_AT_ONCE = 256
_TURN = 0.001


class AsyncClient(_Base):
    """A JSON-RPC server on a leash, for asyncio. Use it with `async with`.

    No thread is used: the loop watches the connection's descriptor. All methods belong to the
    loop's thread. Parameters as for `Client`.
    """

    def _set_up(self, connect_timeout: Optional[float]) -> None:
        self._connect_timeout = connect_timeout
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._fd = -1
        self._is_reading = False
        #: By their tags: calls without a response.
        self._calls: Dict[int, _Call] = {}
        self._tag = 0
        #: Those who wait for an event, and the one that says that it opened or not.
        self._takers: Deque["asyncio.Future[None]"] = deque()
        self._opening: Optional["asyncio.Future[None]"] = None
        self._closed: Optional[Closed] = None
        self._is_closing = False
        self._closers: Set["asyncio.Future[None]"] = set()
        self._tasks: Set["asyncio.Task[None]"] = set()
        self._stall: Optional[asyncio.TimerHandle] = None

    def _open_connection(self) -> Connection:
        if self._connection is None:
            raise StateError("the client is not open: use it with `async with`, or call open()")
        return self._connection

    # ---- The beginning

    async def open(self: A) -> A:
        """Start the server, and wait until it runs. `async with` does this."""
        if self._connection is not None:
            raise StateError("the client was opened before")
        tidy()
        self._loop = asyncio.get_running_loop()
        timeout = self._connect_timeout
        if timeout is None and self._options.is_environment():
            timeout = environment_timeout(self._options)
        self._connection = Connection(self._options, 0.0)
        self._fd = quick.fd(self._connection.address)
        if self._fd < 0:
            raise failure(self._fd)
        self._opening = self._loop.create_future()
        self._read(True)
        try:
            await asyncio.wait_for(self._opening, timeout)
        except asyncio.TimeoutError:
            await self._kill()
            raise ConnectTimeout("the server was not started in time") from None
        except BaseException:
            await self._kill()
            raise
        return self

    async def _kill(self) -> None:
        self._begin_closing()
        await asyncio.shield(self._until_closed())

    async def __aenter__(self: A) -> A:
        return self if self._connection is not None else await self.open()

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        await self.close()

    # ---- Calls

    @overload
    async def call(
        self,
        method: str,
        params: Any = None,
        *,
        timeout: Optional[float] = None,
        raw: Literal[True],
    ) -> bytes: ...

    @overload
    async def call(
        self,
        method: str,
        params: Any = None,
        *,
        timeout: Optional[float] = None,
        raw: Optional[bool] = None,
    ) -> Any: ...

    async def call(
        self,
        method: str,
        params: Any = None,
        *,
        timeout: Optional[float] = None,
        raw: Optional[bool] = None,
    ) -> Any:
        """As `Client.call`. Cancelling the task cancels the call."""
        return await self.submit(method, params, timeout=timeout, raw=raw)

    @overload
    def submit(
        self,
        method: str,
        params: Any = None,
        *,
        timeout: Optional[float] = None,
        raw: Literal[True],
    ) -> "asyncio.Future[bytes]": ...

    @overload
    def submit(
        self,
        method: str,
        params: Any = None,
        *,
        timeout: Optional[float] = None,
        raw: Optional[bool] = None,
    ) -> "asyncio.Future[Any]": ...

    def submit(
        self,
        method: str,
        params: Any = None,
        *,
        timeout: Optional[float] = None,
        raw: Optional[bool] = None,
    ) -> "asyncio.Future[Any]":
        """Send a request now, and give back its answer to be awaited, or cancelled."""
        limit = self._limit if timeout is None else call_limit(check_timeout(timeout))
        connection = self._open_connection()
        number = c_int64()
        self._tag = tag = self._tag + 1
        call = _Call(self, tag, self._raw if raw is None else raw)
        connection.submit(
            self._methods[method], _json.params_of(params), limit, c_int64(tag), number
        )
        call.number = number.value
        self._calls[tag] = call
        if not self._is_reading and self._stall is None:
            self._watch_stall()
        return call

    def notify(self, method: str, params: Any = None) -> None:
        """Send a notification; never waits. ClosedError, FullError, TooBigError."""
        self._open_connection().notify(self._methods[method], _json.params_of(params))

    def flush(self) -> None:
        """Send what `cork` has collected."""
        status = quick.flush(self._open_connection().address)
        if status < 0:
            raise failure(status)

    def _forget(self, call: "_Call") -> None:
        """A call was cancelled: its response will find nobody, and be freed."""
        if self._calls.pop(call.tag, None) is not None and self._connection is not None:
            self._connection.cancel(call.number)

    # ---- Events

    async def poll(self, timeout: Optional[float] = None) -> Optional[AnyEvent]:
        """The next event; None when `timeout` passes. ClosedError: `Closed` was taken."""
        until = None if timeout is None else time.monotonic() + check_timeout(timeout)
        while True:
            found = self._inbox.get()
            if found is not None:
                self._resume()
                return found
            if self._closed is not None:
                raise ClosedError("the last event was taken")
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                return None
            self._open_connection()
            taker = self._running().create_future()
            self._takers.append(taker)
            try:
                await asyncio.wait_for(taker, left)
            except asyncio.TimeoutError:
                pass
            except asyncio.CancelledError:
                if taker.done() and not taker.cancelled():
                    # The event that it was woken for is another's.
                    self._wake_taker()
                raise
            finally:
                # Whoever woke it has taken it out.
                with contextlib.suppress(ValueError):
                    self._takers.remove(taker)

    async def events(self) -> AsyncIterator[AnyEvent]:
        """Events until `Closed`, which is the last one."""
        while True:
            try:
                # In a list, so that this frame does not hold what the loop has dropped.
                taken = [await self.poll()]
            except ClosedError:
                return
            if taken[0] is not None:
                yield taken.pop()  # type: ignore[misc]

    def __aiter__(self) -> AsyncIterator[AnyEvent]:
        return self.events()

    def fileno(self) -> int:
        """The descriptor that the loop watches. Never read or close it."""
        self._open_connection()
        return self._fd

    def _running(self) -> asyncio.AbstractEventLoop:
        assert self._loop is not None
        return self._loop

    def _read(self, on: bool) -> None:
        if on == self._is_reading:
            return
        self._is_reading = on
        if on:
            # The loop must not keep a client that everybody else has dropped.
            self._running().add_reader(self._fd, _readable, weakref.ref(self), self._fd)
        else:
            self._running().remove_reader(self._fd)

    def _drain(self) -> None:
        """Take what is there, but leave the loop its turn."""
        until = time.monotonic() + _TURN
        try:
            for _ in range(_AT_ONCE):
                if self._inbox.is_full() and not self._is_closing:
                    self._pause()
                    return
                found = self._open_connection().take()
                if found is None:
                    return
                self._dispatch(found)
                if self._closed is not None or time.monotonic() > until:
                    return
        except LeashError as error:
            # A forked copy, or a bug: there will be no more.
            self._over(Closed(0, error.status, error.text))

    def _dispatch(self, found: Event) -> None:
        if isinstance(found, Response):
            call = self._calls.pop(found.tag, None)
            if call is not None:
                call.finish(found._pointer)
            return
        handler = self._handler(found)
        if handler is not None:
            self._handle(handler, found)
        elif isinstance(found, Closed):
            self._over(found)
        else:
            if isinstance(found, Opened) and self._opening and not self._opening.done():
                self._opening.set_result(None)
            self._inbox.put(found)
            self._wake_taker()

    def _over(self, closed: Closed) -> None:
        self._read(False)
        self._closed = closed
        self._inbox.put(closed)
        if self._connection is not None:
            # What was read was the end of the teardown.
            self._connection.is_closed = True
        if self._opening and not self._opening.done():
            self._opening.set_exception(self._not_opened(closed))
        for call in list(self._calls.values()):
            call.fail(ClosedError("the connection was closed"))
        self._calls.clear()
        for waiting in [*self._closers, *self._takers]:
            if not waiting.done():
                waiting.set_result(None)

    def _not_opened(self, closed: Closed) -> ConnectError:
        reason = closed.text or "the connection ended before it was open"
        kind = ConnectError if self._options.argv is None else SpawnError
        return kind(reason, errno=closed.errno)

    def _handle(self, handler: Any, found: Event) -> None:
        try:
            result = handler(found)
        except RpcError as error:
            refuse(found, error)
        except Exception as error:
            log.exception("a handler failed")
            refuse(found, error)
        else:
            if inspect.isawaitable(result):
                task = self._running().create_task(_await_handler(result, found))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            elif isinstance(found, Request):
                answer(found, result)

    def _wake_taker(self) -> None:
        while self._takers:
            taker = self._takers.popleft()
            if not taker.done():
                taker.set_result(None)
                return

    # ---- Too many unread events

    def _pause(self) -> None:
        """Nobody takes events: stop reading, so that the peer is throttled."""
        self._read(False)
        self._watch_stall()

    def _resume(self) -> None:
        if self._closed is None and not self._is_reading and self._connection is not None:
            if self._stall is not None:
                self._stall.cancel()
                self._stall = None
            if not self._inbox.is_full() or self._is_closing:
                self._read(True)
            else:
                self._watch_stall()

    def _watch_stall(self) -> None:
        if self._calls and self._closed is None:
            self._stall = self._running().call_later(STALL, self._stalled)

    def _stalled(self) -> None:
        """An answer may sit behind what nobody takes: say so, as `leash_call` does."""
        self._stall = None
        for call in list(self._calls.values()):
            self._forget(call)
            call.fail(FullError("the answer may sit behind unread events: take some with poll"))

    # ---- The end

    async def close(self, timeout: Optional[float] = None) -> None:
        """As `Client.close`."""
        if self._connection is None:
            return
        if timeout is not None:
            check_timeout(timeout)
        self._begin_closing()
        try:
            await asyncio.wait_for(self._until_closed(), timeout)
        except asyncio.TimeoutError:
            raise CloseTimeout("the teardown is still running") from None
        for task in list(self._tasks):
            task.cancel()
        if self._closed is not None and self._closed.left:
            raise LeftError(f"{self._closed.left} processes could not be killed")

    def _begin_closing(self) -> None:
        self._is_closing = True
        if self._closed is None:
            self._open_connection().begin_closing()
            self._resume()

    async def _until_closed(self) -> None:
        while self._closed is None:
            closer = self._running().create_future()
            self._closers.add(closer)
            try:
                await closer
            finally:
                self._closers.discard(closer)

    @property
    def is_closed(self) -> bool:
        """Whether the teardown is over, or has never been needed."""
        return self._connection is None or self._closed is not None

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else "open"
        return f"<libleash.AsyncClient {state} at {id(self):#x}>"

    def __del__(self) -> None:
        if getattr(self, "_connection", None) is None or self._closed is not None:
            return
        warn_unclosed(self)
        if self._is_reading and self._loop is not None and not self._loop.is_closed():
            # Perhaps another thread's collector runs this.
            self._loop.call_soon_threadsafe(_stop_reading, self._loop, self._fd, self._connection)

    def _forked(self) -> None:
        self._is_reading = False


class _Call(asyncio.Future):  # type: ignore[type-arg]
    """The answer of a call. Cancelling it, or the task that awaits it, cancels the call."""

    def __init__(self, client: AsyncClient, tag: int, raw: bool) -> None:
        super().__init__(loop=client._running())
        self._client = client
        self.tag = tag
        self.number = 0
        self._is_raw = raw

    def cancel(self, msg: Optional[Any] = None) -> bool:
        if self.done():
            return False
        self._client._forget(self)
        return super().cancel(msg)

    def finish(self, pointer: EventPointer) -> None:
        if self.done():
            return
        try:
            self.set_result(outcome(pointer, self._is_raw))
        except LeashError as error:
            self.set_exception(error)

    def fail(self, error: LeashError) -> None:
        if not self.done():
            self.set_exception(error)


def _readable(client: "weakref.ref[AsyncClient]", fd: int) -> None:
    found = client()
    if found is not None:
        found._drain()


def _stop_reading(loop: asyncio.AbstractEventLoop, fd: int, connection: object) -> None:
    # The connection comes along so that its descriptor is closed after this.
    loop.remove_reader(fd)


async def _await_handler(result: Any, found: Event) -> None:
    try:
        value = await result
    except asyncio.CancelledError:
        refuse(found, RpcError(-32603, "the client is closing"))
        raise
    except RpcError as error:
        refuse(found, error)
    except Exception as error:
        log.exception("a handler failed")
        refuse(found, error)
    else:
        if isinstance(found, Request):
            answer(found, value)
