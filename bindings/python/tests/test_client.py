"""The client for threads, against servers that do what they are told."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import errno
import functools
import gc
import math
import os
import pickle
import select
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, get_args

import libleash
import pytest
from libleash import Client, Closed, Noise, Notification, Opened, Request, Stage, StderrLine

Misbehave = Callable[..., List[str]]
FAST: Dict[str, Any] = {"exit_after": 0.0, "kill_after": 0.0}


def test_call_gives_the_result_and_raises_the_error(demo: List[str]) -> None:
    with Client(demo) as client:
        assert client.call("echo", {"a": [1, 2.5, None, "ä\u2028"]}) == {
            "a": [1, 2.5, None, "ä\u2028"]
        }
        assert client.call("echo", (1, 2)) == [1, 2]
        assert client.call("echo") is None
        with pytest.raises(libleash.RpcError, match="nope") as caught:
            client.call("nope")
        assert (caught.value.code, caught.value.data) == (-32601, None)
        assert client.pid is not None and client.pending == 0
    assert client.is_closed


def test_raw_is_byte_for_byte(demo: List[str]) -> None:
    text = b'{"b": 1.10,"a":12345678901234567890123,  "c":1e400}'
    with Client(demo) as client:
        assert client.call("echo", text, raw=True) == text
        assert client.call("echo", b"[12345678901234567890123]") == [12345678901234567890123]
    with Client(demo, raw=True) as client:
        assert client.call("echo", [1]) == b"[1]"
        assert client.call("echo", [1], raw=False) == [1]
        assert client.submit("echo", [1]).result() == b"[1]"


def test_what_is_no_json_is_refused_here(demo: List[str]) -> None:
    with Client(demo) as client:
        for wrong in (b"{", b"[1", math.nan, [math.inf], "text", {1j}, object()):
            with pytest.raises((libleash.InvalidError, TypeError, ValueError)):
                client.call("echo", wrong)
        with pytest.raises(libleash.InvalidError, match="NUL"):
            client.call("e\0cho")
        assert client.call("echo", ["\ud800"]) == ["\ud800"]
        assert client.call("echo", [2**70, 2**64 - 1, -(2**63)]) == [2**70, 2**64 - 1, -(2**63)]


def test_a_payload_that_is_no_json_is_told_where_it_is_read(misbehave: Misbehave) -> None:
    script = ['notify:n:{"a":tru}', "recv", 'send:{"id":1,"result":[01]}', "recv", "exit:0"]
    with Client(misbehave(*script)) as client:
        with pytest.raises(libleash.ProtocolError):
            client.call("x")
        found = [event for event in take(client, 2) if isinstance(event, Notification)]
        assert found[0].raw == b'{"a":tru}'
        with pytest.raises(libleash.ProtocolError, match="not JSON"):
            _ = found[0].params


def take(client: Client, count: int) -> List[Any]:
    events = []
    for event in client.events(10):
        events.append(event)
        if len(events) == count:
            break
    return events


def test_timeouts(misbehave: Misbehave) -> None:
    with Client(misbehave("never-read"), timeout=0.05, **FAST) as client:
        began = time.monotonic()
        with pytest.raises(libleash.CallTimeout) as caught:
            client.call("x")
        assert isinstance(caught.value, TimeoutError)
        assert 0.05 <= time.monotonic() - began < 5
        with pytest.raises(libleash.CallTimeout):
            client.submit("x").result()
        call = client.submit("x", timeout=math.inf)
        with pytest.raises(libleash.CallTimeout, match="so far"):
            call.result(0.01)
        assert not call.done() and call.cancel() and not call.cancel()
        with pytest.raises(libleash.CallCancelled):
            call.result()
        assert isinstance(call.exception(), libleash.CallCancelled)
        with pytest.raises(libleash.InvalidError):
            client.call("x", timeout=-1)
        assert client.pending == 0


def test_a_limit_may_be_large_and_no_limit(demo: List[str]) -> None:
    with Client(demo) as client:
        client.on_request("demo/question", lambda request: time.sleep(0.05))
        for limit in (sys.maxsize, 1e15, 1e300, math.inf):
            assert client.submit("ask", timeout=limit).result() is None
            assert client.call("ask", timeout=limit) is None


def test_submitted_calls_end_in_any_order(misbehave: Misbehave) -> None:
    with Client(misbehave("shuffle:50")) as client:
        calls = [client.submit("x", [n]) for n in range(50)]
        assert [call.result(10) for call in calls] == [[n] for n in range(50)]
        assert calls[0].done() and calls[0].exception() is None
        assert calls[7].result() == [7]


def test_events_are_frozen_and_in_order(misbehave: Misbehave) -> None:
    script = ["print:noise", 'notify:n:{"x":1}', "stderr:words", "exit:3"]
    with Client(misbehave(*script)) as client:
        events = list(client)
    kinds = [type(event) for event in events]
    assert kinds[0] is Opened and kinds[-1] is Closed
    assert sorted(k.__name__ for k in kinds[1:-1]) == ["Noise", "Notification", "StderrLine"]
    by_kind: Dict[Any, Any] = {type(event): event for event in events}
    noise, line, note, closed = (by_kind[k] for k in (Noise, StderrLine, Notification, Closed))
    assert (noise.text, line.text, line.dropped) == ("noise", "words", 0)
    assert (note.method, note.raw, note.params) == ("n", b'{"x":1}', {"x": 1})
    assert note.params is note.params
    assert (closed.exit_code, closed.exit_signal, closed.stage) == (3, None, Stage.EXITED)
    assert isinstance(closed.error, libleash.ClosedError) and "3" in str(closed)
    assert [event.seq for event in events] == sorted(event.seq for event in events)
    with pytest.raises(AttributeError):
        note.method = "other"
    with pytest.raises(libleash.ClosedError):
        client.poll(0)
    with pytest.raises(libleash.ClosedError):
        client.call("x")


def test_requests_are_answered_by_hand(misbehave: Misbehave) -> None:
    script = ["ask:7:a", 'ask:"x":b', "ask:null:c", "exit:0"]
    told = []
    with Client(misbehave(*script)) as client:
        for event in client.events(10):
            if isinstance(event, Request) and event.method == "a":
                assert event.id == b"7"
                event.reply({"yes": True})
                with pytest.raises(libleash.StateError):
                    event.reply(1)
            elif isinstance(event, Request) and event.method == "b":
                assert event.id == b'"x"'
                event.reply_error(-5, "no", [1])
            elif isinstance(event, Notification):
                told.append(event.params)
            # The third is dropped, which is an answer, too.
            del event
    assert told[0] == {"result": {"yes": True}}
    assert told[1] == {"error": {"code": -5, "message": "no", "data": [1]}}
    assert told[2]["error"]["code"] == -32603


def test_handlers_run_while_a_call_waits(demo: List[str]) -> None:
    with Client(demo) as client:
        notes: List[Any] = []

        @client.on_request("demo/question")
        def answer(request: Request) -> Any:
            # A handler may call, too.
            return {"nested": client.call("echo", request.params)}

        client.on_notification("*", notes.append)
        assert client.call("ask", [1]) == {"nested": [1]}
        assert client.submit("ask", [2]).result(10) == {"nested": [2]}

        def refuse(request: Request) -> None:
            raise libleash.RpcError(-7, "not now", {"why": 1})

        client.on_request("demo/question", refuse)
        with pytest.raises(libleash.RpcError) as caught:
            client.call("ask", [3])
        assert (caught.value.code, caught.value.message, caught.value.data) == (
            -7, "not now", {"why": 1},
        )  # fmt: skip

        client.on_request("demo/question", lambda request: 1 / 0)
        with pytest.raises(libleash.RpcError, match="ZeroDivisionError"):
            client.call("ask", [4])
        client.on_request("demo/question", lambda request: object())
        with pytest.raises(libleash.RpcError):
            client.call("ask", [5])


@pytest.mark.parametrize("with_handlers", [False, True])
def test_many_threads_share_a_client(with_handlers: bool, demo: List[str]) -> None:
    with Client(demo) as client:
        if with_handlers:
            client.on_request("demo/question", lambda request: request.params)
        wrong: List[Any] = []

        def work(thread: int) -> None:
            for n in range(100):
                sent = [thread, n]
                method = "ask" if with_handlers and n % 10 == 0 else "echo"
                if client.call(method, sent) != sent:
                    wrong.append(sent)

        in_threads([functools.partial(work, thread) for thread in range(8)])
        assert not wrong and client.pending == 0


def in_threads(works: List[Callable[[], Any]]) -> None:
    failures: List[BaseException] = []

    def guarded(work: Callable[[], Any]) -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    if failures:
        raise failures[0]


def test_calls_and_a_thread_that_takes_all_events(demo: List[str]) -> None:
    with Client(demo) as client:
        events: List[Any] = []
        taker = threading.Thread(target=lambda: events.extend(client.events()))
        taker.start()
        in_threads([lambda: [client.call("echo", [n]) for n in range(300)] for _ in range(4)])
        calls = [client.submit("echo", [n]) for n in range(300)]
        assert [call.result(10) for call in calls] == [[n] for n in range(300)]
        client.close()
        taker.join(10)
        assert not taker.is_alive()
    assert [type(event) for event in events] == [Opened, Closed]
    assert not client._answers


def test_calls_that_are_dropped_leave_nothing(demo: List[str]) -> None:
    with Client(demo) as client:
        for n in range(300):
            client.submit("echo", [n])
        assert client.call("echo") is None
        client._sweep()
        assert not client._answers and not client._abandoned
        client.poll(0)
        assert client._open_connection().number(libleash._abi.LEASH_INT_QUEUED) == 0


def test_the_descriptor_is_for_select(demo: List[str]) -> None:
    with Client(demo) as client:
        assert isinstance(client.poll(10), Opened)
        assert client.poll(0) is None
        assert select.select([client], [], [], 0)[0] == []
        call = client.submit("echo", [1])
        assert select.select([client], [], [], 10)[0] == [client]
        assert client.poll(0) is None and call.result() == [1]


def test_wake_ends_one_poll(demo: List[str]) -> None:
    with Client(demo) as client:
        client.poll(10)
        client.wake()
        assert client.poll() is None
        waker = threading.Timer(0.05, client.wake)
        waker.start()
        assert client.poll() is None
        waker.join()
        assert client.poll(0.01) is None
        client.wake()
        assert client.poll(0) is None
        began = time.monotonic()
        assert client.poll(0.05) is None and time.monotonic() - began >= 0.05


def test_wakes_that_a_call_has_seen_are_not_forgotten(demo: List[str]) -> None:
    with Client(demo) as client:
        client.on_notification("x", lambda note: None)
        client.poll(10)
        client.wake()
        client.wake()
        assert client.call("echo", [1]) == [1]
        began = time.monotonic()
        assert client.poll(10) is None and list(client.events(10)) == []
        assert time.monotonic() - began < 5
        assert client.poll(0.05) is None and time.monotonic() - began >= 0.05


def test_wait_for_runs_handlers_until_it_is_so(misbehave: Misbehave) -> None:
    with Client(misbehave("flood:100")) as client:
        seen: List[Notification] = []
        client.on_notification("flood", seen.append)
        assert client.wait_for(lambda: seen if len(seen) == 100 else None, 10) is seen
        with pytest.raises(libleash.CallTimeout):
            client.wait_for(lambda: None, 0.01)
        assert isinstance(client.poll(0), Opened)


@pytest.mark.parametrize("has_handler", [False, True])
@pytest.mark.parametrize("name", ["call", "result", "submit", "poll", "done", "wait_for"])
def test_limits_hold_against_a_server_that_talks(
    name: str, has_handler: bool, misbehave: Misbehave
) -> None:
    if name == "poll" and not has_handler:
        return
    queue = 100 if has_handler else 1 << 40
    with Client(misbehave("flood:100000000"), queue_events=queue, **FAST) as client:
        # Slower than the server is. Without a handler for it, what comes is kept.
        method = "flood" if has_handler else "other"
        client.on_notification(method, lambda note: time.sleep(0.001))
        waits: Dict[str, Callable[[], Any]] = {
            "call": lambda: client.call("x", timeout=0.1),
            "result": lambda: client.submit("x").result(0.1),
            "submit": lambda: client.submit("x", timeout=0.1).result(),
            "wait_for": lambda: client.wait_for(lambda: None, 0.1),
        }
        before = time.monotonic()
        if name == "poll":
            assert isinstance(client.poll(1), Opened)
            assert client.poll(0) is None and client.poll(0.1) is None
        elif name == "done":
            assert not client.submit("x").done()
        else:
            with pytest.raises(libleash.CallTimeout):
                waits[name]()
        assert time.monotonic() - before < 10


def test_no_time_is_enough_for_what_is_there(misbehave: Misbehave) -> None:
    script = misbehave("request", "flood:50", "reply:1", "notify:end", "recv")
    with Client(script, **FAST) as client:
        seen: List[Notification] = []
        client.on_notification("flood", seen.append)
        assert isinstance(client.poll(10), Opened)
        call = client.submit("x")
        until(lambda: client._queued() == 52)
        assert call.done() and len(seen) == 50
        event = client.poll(0)
        assert isinstance(event, Notification) and event.method == "end"


def until(seen: Callable[[], Any]) -> None:
    limit = time.monotonic() + 30
    while not seen():
        assert time.monotonic() < limit
        time.sleep(0.001)


@contextlib.contextmanager
def polled_elsewhere(client: Client) -> Iterator[None]:
    """A thread that takes events, until the client is closed."""
    taker = threading.Thread(target=lambda: list(client.events()))
    taker.start()
    try:
        yield
    finally:
        client.close()
        taker.join(30)
    assert not taker.is_alive()


def test_a_wait_sees_what_a_handler_did_in_another_thread(misbehave: Misbehave) -> None:
    with Client(misbehave("recv", "flood:1", "recv")) as client:
        began, seen = threading.Event(), []

        def handler(note: Notification) -> None:
            began.set()
            # Until the other thread is the one that takes events.
            until(lambda: client._pumper)
            seen.append(note)

        client.on_notification("flood", handler)
        with polled_elsewhere(client):
            client.notify("go")
            assert began.wait(30)
            before = time.monotonic()
            assert client.wait_for(lambda: seen or None, 60) is seen
            assert time.monotonic() - before < 30


def test_handlers_run_one_after_the_other_and_in_order(misbehave: Misbehave) -> None:
    with Client(misbehave("recv", "flood:2000", "echo-loop")) as client:
        seen: List[int] = []
        inside: List[int] = []
        most = 0

        def handler(note: Notification) -> None:
            nonlocal most
            inside.append(1)
            most = max(most, len(inside))
            # The others would have their turn here.
            time.sleep(0)
            seen.append(note.params["n"])
            inside.pop()

        client.on_notification("flood", handler)
        client.notify("go")
        in_threads([lambda: client.wait_for(lambda: len(seen) == 2000 or None, 60)] * 4)
        assert seen == list(range(2000)) and most == 1


def test_a_busy_handler_keeps_no_answer_from_others(misbehave: Misbehave) -> None:
    with Client(misbehave("notify:a", "notify:b", "echo-loop"), **FAST) as client:
        began, may_end = threading.Event(), threading.Event()
        seen: List[str] = []

        def handler(note: Notification) -> None:
            seen.append(note.method)
            if note.method == "a":
                began.set()
                assert may_end.wait(30)
                # It waits itself: the next one runs meanwhile.
                assert client.call("x", [1]) == [1]
                assert seen == ["a", "b"]

        client.on_notification("*", handler)
        waiting = threading.Thread(target=lambda: client.wait_for(lambda: seen[1:] or None, 30))
        waiting.start()
        assert began.wait(30)
        assert client.call("x", [2], timeout=10) == [2] and seen == ["a"]
        may_end.set()
        waiting.join()
        assert seen == ["a", "b"]


def test_nudges_hide_no_event(misbehave: Misbehave) -> None:
    with Client(misbehave("recv", "flood:1", "recv")) as client:
        assert isinstance(client.poll(10), Opened)
        client.notify("go")
        assert select.select([client], [], [], 30)[0] == [client]
        # As after a handler, of which the thread that polled has heard otherwise.
        client._pumper = -1
        for _ in range(2000):
            client._tell_all()
        client._pumper = None
        assert isinstance(client.poll(0), Notification)
        assert client.poll(0) is None


def test_a_wait_sees_what_was_found_while_it_began(misbehave: Misbehave) -> None:
    with Client(misbehave("recv", "flood:1", "recv")) as client:
        seen: List[Any] = []
        looks = 0

        def ready() -> Any:
            nonlocal looks
            looks += 1
            if looks > 1:
                return seen or None
            # There is nothing; but before that is said, there is, and the other
            # thread waits for events again.
            client.notify("go")
            until(lambda: seen and client._pumper)
            return None

        client.on_notification("flood", seen.append)
        with polled_elsewhere(client):
            until(lambda: client._pumper)
            before = time.monotonic()
            assert client.wait_for(ready, 60) is seen
            assert time.monotonic() - before < 30


def test_unread_events_stop_the_peer_and_are_told(misbehave: Misbehave) -> None:
    # Without handlers the library's own queue is full, with handlers ours is.
    for with_handlers in (False, True):
        script = misbehave("flood:100", "recv", "reply:1")
        with Client(script, queue_events=10, **FAST) as client:
            if with_handlers:
                client.on_request("x", lambda request: None)
            with pytest.raises(libleash.FullError):
                client.call("x", timeout=20)
            numbers = [e.params["n"] for e in take(client, 101) if isinstance(e, Notification)]
            assert numbers == list(range(100))


def test_a_call_waits_while_another_thread_takes_events(misbehave: Misbehave) -> None:
    with Client(misbehave("flood:3000", "echo-loop"), queue_events=10) as client:
        client.on_request("other", lambda request: None)
        numbers: List[int] = []

        def take_slowly() -> None:
            for event in client.events():
                if isinstance(event, Notification):
                    numbers.append(event.params["n"])
                if len(numbers) % 10 == 0:
                    time.sleep(0.001)

        taker = threading.Thread(target=take_slowly)
        taker.start()
        try:
            assert client.call("x", [1], timeout=60) == [1]
        finally:
            client.close()
            taker.join()
        assert numbers == list(range(3000))


def test_stderr_never_stops_anything(misbehave: Misbehave) -> None:
    script = misbehave("stderr-flood:500", "request", "reply:1", "recv")
    with Client(script, queue_events=10, **FAST) as client:
        client.on_request("x", lambda request: None)
        assert client.call("x") == 1
        client.close()
        lines = [event for event in client if isinstance(event, StderrLine)]
    assert len(lines) <= 20
    assert sum(1 + line.dropped for line in lines) == 500


def test_errors_of_the_start(tmp_path: Any) -> None:
    with pytest.raises(libleash.SpawnError, match="No such file") as caught:
        Client(["/nonexistent/server"])
    assert isinstance(caught.value, OSError) and caught.value.errno == errno.ENOENT
    assert "/nonexistent" not in str(caught.value)
    (tmp_path / "plain").write_text("")
    with pytest.raises(libleash.SpawnError) as denied:
        Client([tmp_path / "plain"])
    assert denied.value.errno == errno.EACCES
    for wrong in ([], ["a\0b"], "sh -c true", [""]):
        with pytest.raises(libleash.InvalidError):
            Client(wrong)
    for options in ({"protocol": "soap"}, {"stderr": "x"}, {"exit_after": -1}, {"max_message": -1},
                    {"env": {"A=B": "c"}}, {"token": "t"}, {"url": "ws://x"}):  # fmt: skip
        with pytest.raises(libleash.InvalidError):
            Client(["true"], **options)
    with pytest.raises(libleash.InvalidError):
        Client()


@pytest.mark.parametrize(
    "option, value, error",
    [
        ("argv", [b"true"], TypeError),
        ("argv", [1], TypeError),
        ("cwd", b"/", TypeError),
        ("config", 1, TypeError),
        ("ca_file", 1, TypeError),
        ("url", 1, TypeError),
        ("token", 1, TypeError),
        ("max_message", "1", TypeError),
        ("max_message", -1, libleash.InvalidError),
        ("queue_events", 1.5, TypeError),
        ("exit_after", "1", TypeError),
        ("kill_after", -1, libleash.InvalidError),
        ("ping_every", math.inf, libleash.InvalidError),
        ("timeout", "1", TypeError),
        ("timeout", math.nan, libleash.InvalidError),
        ("connect_timeout", -1, libleash.InvalidError),
        ("connect_timeout", math.nan, libleash.InvalidError),
        ("env", {"A": "a\0"}, libleash.InvalidError),
        ("protocol", [], libleash.InvalidError),
    ],
)
def test_a_wrong_value_is_told_by_its_name(option: str, value: Any, error: Any) -> None:
    options = {option: value} if option in ("argv", "url", "config") else {"argv": ["true"]}
    options[option] = value
    with pytest.raises(error, match=option):
        Client(**options)


def test_a_wrong_argument_is_told_by_its_name(demo: List[str]) -> None:
    wrong: Any
    with Client(demo) as client:
        for wrong in (b"echo", 1, None):
            with pytest.raises(TypeError, match="method must be a str"):
                client.call(wrong)
        for wrong in (-1, math.nan):
            for use in (client.close, client.poll, lambda time: client.call("echo", timeout=time)):
                with pytest.raises(libleash.InvalidError, match="timeout"):
                    use(wrong)
        with pytest.raises(TypeError, match="timeout"):
            client.close("1")  # type: ignore[arg-type]
        assert client.call("echo", [1]) == [1]


def test_errors_can_be_pickled() -> None:
    with pytest.raises(libleash.SpawnError) as caught:
        Client(["/nonexistent/server"])
    errors = [caught.value, libleash.ConnectTimeout("too late"), libleash.RpcError(-1, "no", [1])]
    for error in errors:
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again)) == (type(error), str(error))
        for name in ("status", "errno", "strerror", "code", "data"):
            assert getattr(again, name, None) == getattr(error, name, None)


def test_secrets_are_not_told(demo: List[str]) -> None:
    secret = "hunter2"
    with pytest.raises(libleash.InvalidError) as caught:
        Client(["true", secret], env={"A": secret}, token=secret)
    assert secret not in str(caught.value)
    with Client([*demo, secret], env={"A": secret}) as client:
        assert secret not in repr(client) + repr(client._options)


def test_environment_and_folder(tmp_path: Any) -> None:
    os.environ["LEASH_TEST_INHERITED"] = "yes"
    try:
        show = ["/bin/sh", "-c", 'echo "$A,${LEASH_TEST_INHERITED-none},$PWD"']
        for options, said in (
            ({"env": {"A": "b"}, "cwd": tmp_path}, f"b,yes,{tmp_path}"),
            ({"env": {"LEASH_TEST_INHERITED": None}, "cwd": "/"}, ",none,/"),
            ({"inherit_env": False, "env": {"A": "1"}, "cwd": "/"}, "1,none,/"),
        ):
            with Client(show, **options) as client:
                assert [e.text for e in client if isinstance(e, Noise)] == [said]
    finally:
        del os.environ["LEASH_TEST_INHERITED"]


def test_every_way_to_close(misbehave: Misbehave) -> None:
    client = Client(
        misbehave("ignore-term", "ignore-eof", "never-read"), exit_after=0.05, kill_after=0.05
    )
    with pytest.raises(libleash.CloseTimeout):
        client.close(0)
    assert not client.is_closed
    client.close()
    client.close()
    assert client.is_closed
    closed = list(client)[-1]
    assert closed.stage == Stage.KILL and closed.killed >= 1 and closed.exit_signal == 9
    assert "SIGKILL" in str(closed)


def test_close_ends_pending_calls(misbehave: Misbehave) -> None:
    client = Client(misbehave("never-read"), **FAST)
    calls = [client.submit("x") for _ in range(10)]
    ended = threading.Event()

    def wait() -> None:
        with pytest.raises(libleash.ClosedError):
            client.call("x")
        ended.set()

    thread = threading.Thread(target=wait)
    thread.start()
    until = time.monotonic() + 10
    while client.pending < 11 and time.monotonic() < until:
        time.sleep(0.001)
    client.close()
    assert ended.wait(10)
    thread.join()
    for call in calls:
        with pytest.raises(libleash.ClosedError) as caught:
            call.result()
        assert isinstance(caught.value, ConnectionError)


def test_a_client_that_is_dropped_is_torn_down_and_told(misbehave: Misbehave) -> None:
    client = Client(misbehave("never-read"), exit_after=2)
    gone = weakref.ref(client._connection)
    began = time.monotonic()
    with pytest.warns(ResourceWarning, match="unclosed"):
        del client
        gc.collect()
    # The collector does not wait for the server.
    assert time.monotonic() - began < 1
    assert gone() is None


def test_a_request_outlives_its_client(misbehave: Misbehave) -> None:
    with Client(misbehave("ask:1:q", "never-read"), **FAST) as client:
        request = next(event for event in client if isinstance(event, Request))
    del client
    gc.collect()
    assert request.method == "q"
    with pytest.raises(libleash.ClosedError):
        request.reply(1)


def test_a_request_is_one_however_it_is_copied(misbehave: Misbehave) -> None:
    with Client(misbehave("ask:1:q", "notify:end", "never-read"), **FAST) as client:
        request = next(event for event in client if isinstance(event, Request))
        copies: List[Any] = [copy.copy(request), copy.deepcopy(request)]
        copies.append(Request(**dataclasses.asdict(request)))
        with pytest.raises(TypeError, match="request cannot be copied"):
            pickle.dumps(request)
        copies[0].reply(1)
        with pytest.raises(libleash.StateError):
            copies[2].reply(1)
        del request
        copies.clear()
        gc.collect()


def test_a_client_cannot_be_pickled(demo: List[str]) -> None:
    with Client(demo) as client, pytest.raises(TypeError, match="pickled"):
        pickle.dumps(client)


if TYPE_CHECKING:
    from typing_extensions import assert_type

    def options_have_names_and_types() -> None:
        Client(["x"], stder="inherit")  # type: ignore[call-arg]
        Client(["x"], stderr="inherits")  # type: ignore[arg-type]
        Client(["x"], protocol="soap")  # type: ignore[arg-type]
        libleash.connect(["x"], cwb="/")  # type: ignore[call-arg]
        libleash.connect(["x"], protocol="mcp", exit_after=1.0, on_request={})

    def results_have_types(client: Client) -> None:
        assert_type(client.call("m", raw=True), bytes)
        assert_type(client.submit("m").result(raw=True), bytes)
        assert_type(client.call("m"), Any)


def test_large_messages(demo: List[str]) -> None:
    with Client(demo) as client:
        text = "ä" * 3_000_000
        assert client.call("echo", [text]) == [text]
        with pytest.raises(libleash.TooBigError):
            client.call("echo", [b"x".decode() * (65 << 20)])


def test_every_option_has_a_type() -> None:
    from libleash import _options

    known = {field.name for field in dataclasses.fields(_options.Options)}
    told = set(_options.Parameters.__annotations__)
    assert known - told == {"argv"}
    assert told - known == {"timeout", "connect_timeout", "raw"}
    assert _options.PROTOCOLS.keys() == set(get_args(_options.Protocol))


def test_urls_and_environments_are_mapped() -> None:
    from libleash import _abi, _options

    options = _options.Options(url="wss://h/p", token="t", headers={"A": "b"}, ca_file="/ca")
    assert options.texts() == {
        _abi.LEASH_OPT_URL: "wss://h/p",
        _abi.LEASH_OPT_BEARER: "t",
        _abi.LEASH_OPT_CA_FILE: "/ca",
    }
    assert options.lists() == {_abi.LEASH_OPT_HEADERS: ["A: b"]}
    assert "wss" not in repr(options)
    assert _options.Options(environment="x").is_environment()
    with pytest.raises(libleash.InvalidError):
        _options.Options(url="ws://x", environment="x")
    with pytest.raises(libleash.ConnectError if has_websocket() else libleash.UnsupportedError):
        Client(url="ws://127.0.0.1:1/", connect_timeout=5)


def has_websocket() -> bool:
    try:
        Client(url="ws://127.0.0.1:1/", connect_timeout=5).close()
    except libleash.UnsupportedError:
        return False
    except libleash.LeashError:
        pass
    return True


def test_an_environment_is_connected_to(demo: List[str], tmp_path: Any) -> None:
    config = tmp_path / "environments.toml"
    config.write_text(f'default = "a"\n[[environments]]\nid = "a"\nprogram = "{demo[0]}"\n')
    for name in (None, "a"):
        with Client(config=config, environment=name) as client:
            assert client.call("echo", [1]) == [1]
    assert libleash.environments(config)["default"] == "a"
    with pytest.raises(libleash.InvalidError):
        Client(config=config, environment="b")
