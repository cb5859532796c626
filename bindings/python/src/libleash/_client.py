"""The client for threads."""

from __future__ import annotations

import contextlib
import functools
import logging
import queue
import threading
import time
from collections import deque
from ctypes import byref, c_int64
from types import TracebackType
from typing import (
    Any,
    Callable,
    Deque,
    Dict,
    Iterator,
    List,
    Literal,
    Optional,
    Set,
    Tuple,
    Type,
    TypeVar,
    overload,
)

from . import _abi, _json
from ._connection import (
    NO_LIMIT,
    STALL,
    Connection,
    Handler,
    _Base,
    call_limit,
    tidy,
    warn_unclosed,
)
from ._errors import CallTimeout, ClosedError, FullError, RpcError, StateError
from ._events import AnyEvent, Event, Request, Response, outcome
from ._events import event as make_event
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
from ._options import check_timeout

T = TypeVar("T")
C = TypeVar("C", bound="Client")

log = logging.getLogger("libleash")

_NO_TAG = c_int64(0)
#: How long it may take from a pump's taking an answer to its giving it out.
_HANDOVER = 5.0
# Without the function of Python that chooses the kind of lock each time.
_RLock = type(threading.RLock())


class Client(_Base):
    """A JSON-RPC server on a leash, for programs without asyncio.

    Any method may be called from any thread. There is no thread of its own: handlers run in
    whatever thread is waiting in `call`, `poll`, `events`, `wait_for` or a call's `result`. They
    run one after the other, in the order of arrival, however many threads wait; but while one
    waits for the client itself, those of later events run inside of it.
    """

    # A signal handler runs between any two steps of the main thread. It may raise, which must leave
    # no lock held and lose no event, and it may call a method of the same client. So locks are
    # taken inside of the `try` that gives them back, a thread that has one may take it again, and
    # whatever is taken from one place is in another before the next function is called.

    def _set_up(self, connect_timeout: Optional[float]) -> None:
        #: Who has it takes events; `_pumper` is its thread.
        self._pump_lock = _RLock()
        self._pumper: Optional[int] = None
        #: Events that have a handler, and it; who has the lock runs them, one after the other.
        self._unhandled: Deque[Tuple[Handler, Event]] = deque()
        self._handling = _RLock()
        #: Another one each time that something was found; and the threads that wait for that.
        self._changes = object()
        self._waiters: Set["queue.SimpleQueue[None]"] = set()
        #: Where the library puts the next event. An interrupted pump may leave one here.
        self._place = EventPointer()
        self._place_reference = byref(self._place)
        #: Responses that a pump took, for those who wait for them.
        self._answers: Dict[int, EventPointer] = {}
        #: Calls whose answer nobody wants.
        self._abandoned: Set[int] = set()
        #: A None for each wake of our own that no poll has seen; for each wake; and for each that
        #: was seen, but not by a `poll`.
        self._nudges: Deque[None] = deque()
        self._wakes: Deque[None] = deque()
        self._seen_wakes: Deque[None] = deque()
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
        call, place = c_int64(), EventPointer()
        try:
            self._open_connection().submit(
                self._methods[method], _json.params_of(params), NO_LIMIT, _NO_TAG, call
            )
            pointer = self._answer(call, limit, place)
            if pointer is None:
                raise CallTimeout("no answer came in time")
            if pointer is not place:
                del self._answers[call.value]
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
        try:
            self._open_connection().submit(
                self._methods[method], _json.params_of(params), limit, _NO_TAG, call
            )
            return Call(self, call, method)
        except BaseException:
            if call.value:
                self._give_up(call.value)
            raise

    def notify(self, method: str, params: Any = None) -> None:
        """Send a notification. ClosedError, FullError, TooBigError."""
        self._open_connection().notify(self._methods[method], _json.params_of(params))

    def flush(self) -> None:
        """Send what `cork` has collected."""
        status = quick.flush(self._open_connection().address)
        if status < 0:
            raise failure(status)

    def _answer(self, call: c_int64, limit: float, place: EventPointer) -> Optional[EventPointer]:
        """The response of `call`: it is in `place`, or stays in `_answers`. None: after `limit`."""
        found = functools.partial(self._answers.get, call.value)
        if self._on_request or self._on_notification:
            return self._pump(found, limit)
        handle, to = self._open_connection().handle, byref(place)
        until = time.monotonic() + limit
        # Most answers come within the first nap, whoever waits.
        milli = NAP_MS if limit > NAP else c_int64(milliseconds(limit))
        while True:
            status = wait_for(handle, call, milli, to)
            # A signal handler may have waited for it, too.
            if status == 1 or place:
                return place
            left = until - time.monotonic()
            if status == _abi.LEASH_E_STATE:
                # A pump in another thread took it, and will leave it there.
                return self._pump(found, max(0.0, min(left, _HANDOVER)))
            if status == _abi.LEASH_E_INTERRUPTED:
                run_signal_handlers()
            elif status != 0:
                raise failure(status)
            elif left <= 0:
                return None
            milli = c_int64(milliseconds(nap(left)))

    def _give_up(self, call: int) -> None:
        """End a call and forget its response, wherever that is."""
        self._open_connection().cancel(call)
        self._abandon(call)
        if len(self._abandoned) > 64:
            self._sweep()

    def _abandon(self, call: int) -> None:
        """Nobody will ask for this response."""
        if not self._has_gone(call):
            self._abandoned.add(call)
            # Unless a pump has left it meanwhile, and not seen that nobody wants it.
            if self._answers.pop(call, None) is not None:
                self._abandoned.discard(call)

    def _sweep(self) -> None:
        for call in list(self._abandoned):
            if self._has_gone(call):
                self._abandoned.discard(call)

    def _has_gone(self, call: int) -> bool:
        """Whether the response was there, and is no more. False: it is on its way."""
        if self._answers.pop(call, None) is not None:
            return True
        connection = self._connection
        if connection is None or connection.is_freed:
            return True
        status = quick.wait(connection.address, call, 0, byref(EventPointer()))
        if status == _abi.LEASH_E_STATE and self._pumper is None and not self._place:
            # Whoever took it has not left it, and never will.
            self._answers.pop(call, None)
            return True
        return bool(status == 1)

    # ---- Events

    def poll(self, timeout: Optional[float] = None) -> Optional[AnyEvent]:
        """The next event; None when `timeout` passes (None: no limit), or after `wake`.

        Handlers run here. ClosedError: the last event, `Closed`, was taken.
        """
        limit = float("inf") if timeout is None else check_timeout(timeout)
        given: List[AnyEvent] = []
        try:
            self._pump(functools.partial(self._next, given), limit, given)
        except BaseException:
            if given:
                self._inbox.put_back(given[0])
            raise
        return given[0] if given else None

    def _next(self, given: List[AnyEvent]) -> Optional[bool]:
        """Give out an event that was kept: True; or a wake: False."""
        if self._inbox.events and self._inbox.move(given):
            return True
        if self._seen_wakes:
            with contextlib.suppress(IndexError):
                self._seen_wakes.pop()
                return False
        return None

    def events(self, timeout: Optional[float] = None) -> Iterator[AnyEvent]:
        """Events until `Closed`, which is the last one.

        Ends early when none comes for `timeout` seconds, and after `wake`. A loop's variable keeps
        its event until the next one has come: to refuse a Request at once, `del` it or use
        `reply_error`.
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
        too many are kept, and no thread takes any for a second.
        """
        found = self._pump(ready, self._timeout if timeout is None else check_timeout(timeout))
        if found is None:
            raise CallTimeout("what was waited for did not come in time")
        return found

    def wake(self) -> None:
        """Make one `poll`, running or next, return None."""
        self._wakes.append(None)
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
        self,
        ready: Callable[[], Optional[T]],
        limit: float,
        given: Optional[List[AnyEvent]] = None,
    ) -> Optional[T]:
        """Take events, and run handlers, until `ready()` is not None; None after `limit`.

        Of several threads one takes events, and one runs handlers; the others wait for what they
        find. An event that has no handler is kept, or `given`, which ends this, too.
        """
        until = time.monotonic() + limit
        rest: Optional[int] = None
        me = threading.get_ident()
        is_nested = False
        try:
            while True:
                changes = self._changes
                event: Any = None
                if self._unhandled and self._handle_one():
                    found = ready()
                    if found is not None:
                        return found
                    event = True
                else:
                    # Called by a signal handler, or by `ready`.
                    is_nested = self._pumper == me
                    is_full = False
                    pointer = None
                    try:
                        is_mine = is_nested or self._pump_lock.acquire(False)
                        if is_mine:
                            self._pumper = me
                            found = ready()
                            if found is not None:
                                return found
                            if given is None or self._unhandled:
                                is_full = self._is_full(given is None)
                            pointer = None if is_full else self._take(until)
                            if pointer:
                                event = self._put(pointer, given)
                                pointer = None
                                if given:
                                    return None
                                if isinstance(event, Response) and event.call in self._abandoned:
                                    self._abandoned.discard(event.call)
                                    self._answers.pop(event.call, None)
                    except BaseException:
                        if pointer:
                            self._place, self._place_reference = pointer, byref(pointer)
                        raise
                    finally:
                        if not is_nested:
                            if self._pumper == me:
                                self._pumper = None
                            try:
                                self._pump_lock.release()
                            except RuntimeError:
                                pass  # Another thread has it.
                            else:
                                self._changes = object()
                                if self._waiters:
                                    self._tell()
                    if not is_mine:
                        found = ready()
                        left = until - time.monotonic()
                        if found is not None or left <= 0:
                            return found
                        self._wait_for_change(changes, left)
                        continue
                    if is_full:
                        self._wait_for_room(given is None, until)
                if until <= time.monotonic():
                    if rest is None:
                        # A limit of 0 is for all that is there: it is taken, and perhaps handled.
                        rest = 0 if limit else 2 * self._queued() + 1
                    if event is None or rest == 0:
                        return ready()
                    rest -= 1
        except BaseException:
            # Before Python 3.11 a signal handler may run between `finally` and what is in there.
            if not is_nested:
                if self._pumper == me:
                    self._pumper = None
                with contextlib.suppress(RuntimeError):
                    while True:
                        self._pump_lock.release()
            raise

    def _put(self, pointer: EventPointer, given: Optional[List[AnyEvent]]) -> Optional[Event]:
        """Put an event where it is waited for, and call no function after that."""
        event: Any = make_event(pointer)
        handler = None
        if self._on_request or self._on_notification:
            handler = self._handler(event)
        if handler is not None:
            self._unhandled += ((handler, event),)
        elif isinstance(event, Response):
            self._answers[event.call] = pointer
        elif given is not None and event is not None:
            given += (event,)
        elif event is not None:
            self._inbox.put(event)
        return event  # type: ignore[no-any-return]

    def _handle_one(self) -> bool:
        """Run the handler of the oldest event that waits for that. False: another thread does."""
        has_run = False
        try:
            if self._handling.acquire(False) and self._unhandled:
                handler, event = self._unhandled[0]
                del self._unhandled[0]
                has_run = True
                run(handler, event)
        finally:
            try:  # noqa: SIM105 - `suppress` is where a signal handler could run
                self._handling.release()
            except RuntimeError:
                pass  # Another thread has it.
            if has_run:
                self._tell_all()
        return has_run

    def _is_full(self, keeps: bool) -> bool:
        """Whether the next event has no place: it may have a handler, or be one to be kept."""
        is_behind = len(self._unhandled) >= self._inbox.limit
        return is_behind or (keeps and self._inbox.is_full())

    def _wait_for_room(self, keeps: bool, until: float) -> None:
        """FullError: nobody took an event for a second, as in C."""
        taken, give_up = self._inbox.taken, time.monotonic() + STALL
        while True:
            changes, now = self._changes, time.monotonic()
            if self._inbox.taken != taken or not self._is_full(keeps) or now >= until:
                return
            if now >= give_up:
                raise FullError("too many events are unread: take some with poll")
            self._wait_for_change(changes, min(until, give_up) - now)

    def _queued(self) -> int:
        return self._open_connection().number(_abi.LEASH_INT_QUEUED) or 0

    def _wait_for_change(self, seen: object, limit: float) -> None:
        """Wait while another thread takes events, and nothing has changed since `seen`.

        For a nap at most: a thread that was interrupted tells nobody.
        """
        waiter: "queue.SimpleQueue[None]" = queue.SimpleQueue()
        try:
            self._waiters.add(waiter)
            # Whoever changes something looks for waiters after it.
            if self._changes is seen:
                with contextlib.suppress(queue.Empty):
                    waiter.get(timeout=min(limit, NAP))
        finally:
            self._waiters.discard(waiter)

    def _tell(self) -> None:
        """Let the threads that wait look again."""
        self._changes = object()
        for waiter in tuple(self._waiters):
            waiter.put(None)

    def _tell_all(self) -> None:
        """The same after a handler, which may have changed anything: also the thread that takes
        events is to look."""
        self._tell()
        if self._pumper not in (None, threading.get_ident()):
            self._nudges.append(None)
            quick.wake(self._open_connection().address)

    def _take(self, until: float) -> Optional[EventPointer]:
        """The next event of the library; None at the time `until`, on a signal or wake."""
        if not self._place:
            handle = self._open_connection().handle
            while True:
                # One that is there already comes without giving the GIL away.
                status = poll_at_once(handle, NOW, self._place_reference)
                while status == 0:
                    left = until - time.monotonic()
                    if left <= 0:
                        return None
                    milli = c_int64(milliseconds(nap(left)))
                    status = poll_for(handle, milli, self._place_reference)
                if status != _abi.LEASH_E_INTERRUPTED:
                    break
                run_signal_handlers()
                if not self._nudges:
                    if self._wakes:
                        self._seen_wakes.append(self._wakes.pop())
                    return None
                self._nudges.pop()
                # There may be an event all the same.
                until = 0.0  # A time long past.
            if status == _abi.LEASH_E_CLOSED:
                self._is_over = True
            if status < 0:
                raise failure(status)
        fresh = EventPointer()
        reference = byref(fresh)
        pointer = self._place
        self._place, self._place_reference = fresh, reference
        return pointer

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
        self._pump_lock = _RLock()
        self._pumper = None
        self._handling = _RLock()
        self._waiters = set()
        self._inbox.forked()


class Call:
    """A request that was submitted. Its answer is waited for with `result`, by any thread."""

    def __init__(self, client: Client, number: c_int64, method: str) -> None:
        #: The place for the response.
        self._pointer = EventPointer()
        self._client = client
        self._number = number
        self._method = method
        self._lock = _RLock()

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
            if not self._pointer:
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
        if self._pointer:
            return self._pointer
        try:
            if not self._lock.acquire(False):
                until = time.monotonic() + limit
                if not self._lock.acquire(timeout=min(limit, threading.TIMEOUT_MAX)):
                    return self._pointer or None
                limit = max(0.0, until - time.monotonic())
            if not (self._pointer or self._is_there()):
                client = self._client
                found = client._answer(self._number, limit, self._pointer)
                if found is not None and found is not self._pointer:
                    self._pointer = found
                    client._answers.pop(self._number.value, None)
        finally:
            try:  # noqa: SIM105 - `suppress` is where a signal handler could run
                self._lock.release()
            except RuntimeError:
                pass  # Another thread has it.
        return self._pointer or None

    def _is_there(self) -> bool:
        """Take the response, if it is there, without giving the GIL away."""
        client = self._client
        if client._on_request or client._on_notification:
            return False
        handle = client._open_connection().handle
        return bool(wait_at_once(handle, self._number, NOW, byref(self._pointer)) == 1)

    def __repr__(self) -> str:
        return f"<libleash.Call {self._number.value} {self._method}>"

    def __del__(self) -> None:
        if not getattr(self, "_pointer", True):
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
