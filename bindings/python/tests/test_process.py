"""What surrounds a client: signals, the interpreter's end, forks."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from typing import Any, Callable, Dict, List

import libleash
import pytest
from libleash import Client, _client

Misbehave = Callable[..., List[str]]
FAST: Dict[str, Any] = {"exit_after": 0.0, "kill_after": 0.0}
WAITS: Dict[str, Callable[[Client], Any]] = {
    "call": lambda client: client.call("x"),
    "result": lambda client: client.submit("x").result(),
    "poll": lambda client: (client.poll(5), client.poll()),
    "wait_for": lambda client: client.wait_for(lambda: None),
    "close": lambda client: client.close(),
}


@pytest.fixture
def alarm() -> Any:
    """Call something in a signal handler, once, when a wait has begun."""
    before = signal.getsignal(signal.SIGALRM)

    def set_alarm(handler: Callable[..., Any], after: float = 0.1) -> None:
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, after)

    yield set_alarm
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("with_handlers", [False, True])
@pytest.mark.parametrize("name", list(WAITS))
def test_control_c_interrupts_any_wait_at_once(
    name: str, with_handlers: bool, misbehave: Misbehave, alarm: Any
) -> None:
    script = misbehave("echo-loop") if name != "close" else misbehave("ignore-eof")
    script = misbehave("request", "echo-loop") if name != "close" else script
    with Client(
        script, timeout=50, exit_after=5 if name == "close" else 0, kill_after=0.0
    ) as client:
        if with_handlers:
            client.on_request("x", lambda request: None)
        raised: List[float] = []

        def interrupt(*_: Any) -> None:
            raised.append(time.monotonic())
            raise KeyboardInterrupt

        alarm(interrupt)
        with pytest.raises(KeyboardInterrupt):
            WAITS[name](client)
        assert time.monotonic() - raised[0] < 0.1
        if name != "close":
            assert client.pending == (1 if name == "result" else 0)
            # It can be used as if nothing had been.
            if name not in ("call", "result"):
                client.notify("pass")
                client.submit("swallowed").cancel()
            assert client.call("echo", [1], timeout=10) == [1]


class Interrupted(BaseException):
    """What a signal handler raises here."""


def raising_after(function: Callable[..., int]) -> Callable[..., int]:
    """As if a signal came when `function` has just taken something: once."""
    left = [True]

    def wrapped(*args: Any) -> int:
        status = function(*args)
        if status == 1 and left:
            left.clear()
            raise Interrupted
        return status

    return wrapped


@pytest.mark.parametrize("with_handlers", [False, True])
def test_what_was_taken_when_a_signal_came_is_there_afterwards(
    with_handlers: bool, misbehave: Misbehave, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Client(misbehave("notify:n", "echo-loop")) as client:
        if with_handlers:
            client.on_request("x", lambda request: None)
        assert isinstance(client.poll(10), libleash.Opened)
        assert select.select([client], [], [], 10)[0] == [client]
        for name in ("poll_at_once", "wait_for", "wait_at_once"):
            monkeypatch.setattr(_client, name, raising_after(getattr(_client, name)))
        with pytest.raises(Interrupted):
            client.poll()
        assert isinstance(client.poll(0), libleash.Notification)
        calls = [client.submit("x", [n]) for n in range(3)]
        for n, call in enumerate(calls):
            with contextlib.suppress(Interrupted):
                call.result(10)
            assert call.result(0) == [n] and call.done()
        # One that a poll takes is another's.
        name = "poll_at_once"
        monkeypatch.setattr(_client, name, raising_after(getattr(_client, name)))
        call = client.submit("x", [1])
        assert select.select([client], [], [], 10)[0] == [client]
        with pytest.raises(Interrupted):
            client.poll(0)
        assert client.poll(0) is None and call.result(10) == [1]


def test_no_wait_is_longer_than_its_limit_even_for_what_was_lost(misbehave: Misbehave) -> None:
    with Client(misbehave("echo-loop"), **FAST) as client:
        call = client.submit("x", [1])
        while not client._answers:
            client.poll(0.01)
        client._answers.clear()
        began = time.monotonic()
        assert not call.done()
        with pytest.raises(libleash.CallTimeout):
            call.result(0.1)
        assert time.monotonic() - began < 3


@pytest.mark.parametrize("with_handlers", [False, True])
def test_signals_at_any_moment_lose_nothing(with_handlers: bool, misbehave: Misbehave) -> None:
    with Client(
        misbehave("recv", "flood:20000", "notify:end", "echo-loop"), queue_events=100_000
    ) as client:
        if with_handlers:
            client.on_request("x", lambda request: None)
        seen: List[int] = []
        is_armed = False

        def handler(*_: Any) -> None:
            nonlocal is_armed
            if is_armed:
                is_armed = False
                raise Interrupted

        before = signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
        event: Any = None
        try:
            client.notify("go")
            while getattr(event, "method", None) != "end":
                event = None
                try:
                    is_armed = True
                    event = client.poll(10)
                    is_armed = False
                except Interrupted:
                    pass
                if getattr(event, "method", None) == "flood":
                    seen.append(event.params["n"])
            # Before 3.11 a handler runs between any two instructions, also those of this loop.
            assert len(seen) == 20_000 or (sys.version_info < (3, 11) and len(seen) > 19_900)
            assert seen == sorted(seen)
            until = time.monotonic() + 2
            while time.monotonic() < until:
                try:
                    is_armed = True
                    client.call("x", [1])
                    is_armed = False
                except Interrupted:
                    pass
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        client.on_notification("*", lambda note: None)
        while client.poll(0):
            pass
        # And no lock is held.
        results: List[Any] = []
        thread = threading.Thread(target=lambda: results.append(client.call("x", [2], timeout=20)))
        thread.start()
        thread.join()
        assert results == [[2]] and client.pending == 0


@pytest.mark.parametrize("with_handlers", [False, True])
@pytest.mark.parametrize("name", ["call", "poll", "wait_for"])
def test_a_signal_handler_may_call(
    name: str, with_handlers: bool, misbehave: Misbehave, alarm: Any
) -> None:
    # The first call is never answered.
    script = misbehave("request", "echo-loop") if name == "call" else misbehave("echo-loop")
    with Client(script, timeout=50, **FAST) as client:
        if with_handlers:
            client.on_request("x", lambda request: None)
        results: List[Any] = []

        def call(*_: Any) -> None:
            results.append(client.call("echo", [1], timeout=10))
            client.notify("swallowed")
            raise Interrupted

        alarm(call)
        with pytest.raises(Interrupted):
            WAITS[name](client)
        assert results == [[1]]


@pytest.mark.parametrize("with_handlers", [False, True])
def test_other_signals_do_not_disturb(
    with_handlers: bool, misbehave: Misbehave, alarm: Any
) -> None:
    with Client(misbehave("request", "never-read"), **FAST) as client:
        if with_handlers:
            client.on_request("x", lambda request: None)
        times: List[float] = []

        def note(*_: Any) -> None:
            times.append(time.monotonic())

        alarm(note, 0.05)
        began = time.monotonic()
        with pytest.raises(libleash.CallTimeout):
            client.call("x", timeout=0.3)
        # It went on waiting for what was left of the time.
        assert times and 0.3 <= time.monotonic() - began < 5
        alarm(note, 0.05)
        assert list(client.events(0.2)) != [] and len(times) == 2


def test_a_real_control_c(run_python: Any, misbehave: Misbehave) -> None:
    code = """if True:
    import os, signal, sys, threading, time
    from libleash import Client
    with Client(sys.argv[1:], exit_after=0.0, kill_after=0.0) as client:
        threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        began = time.monotonic()
        try:
            client.call("x", timeout=30)
        except KeyboardInterrupt:
            print("interrupted", time.monotonic() - began < 2, client.pending)
    """
    done = run_python(code, *misbehave("never-read"))
    assert (done.status, done.stdout) == (0, "interrupted True 0\n"), done.stderr


def test_the_gil_is_free_in_every_wait(misbehave: Misbehave) -> None:
    with Client(misbehave("never-read"), timeout=0.3, **FAST) as client:
        for wait in (WAITS["call"], WAITS["result"], lambda c: c.poll(0.3)):
            began, counted = threading.Event(), 0

            def work(wait: Any = wait, began: threading.Event = began) -> None:
                began.set()
                with contextlib.suppress(libleash.CallTimeout):
                    wait(client)

            client.poll(0)
            thread = threading.Thread(target=work)
            thread.start()
            began.wait()
            while thread.is_alive():
                counted += 1
            assert counted > 1000


def test_the_interpreter_s_end_tears_down(run_python: Any, misbehave: Misbehave) -> None:
    code = """if True:
    import sys, threading, time
    import libleash
    clients = [libleash.Client(sys.argv[1:], exit_after=0.1, kill_after=0.1) for _ in range(3)]
    calls = [client.submit("x") for client in clients]
    client = clients[0]
    threading.Thread(target=lambda: client.call("x"), daemon=True).start()
    threading.Thread(target=lambda: list(client.events()), daemon=True).start()
    kept = libleash.Client(sys.argv[1:])
    del kept
    while client.pending < 2:
        time.sleep(0.001)
    print("end")
    """
    began = time.monotonic()
    done = run_python(code, *misbehave("ignore-term", "ignore-eof", "never-read"))
    assert (done.status, done.stdout) == (0, "end\n"), done.stderr
    # All at once, not one after the other: the one that was dropped has 5 s.
    assert time.monotonic() - began < 15


def test_a_call_may_go_after_its_connection(run_python: Any, demo: List[str]) -> None:
    code = """if True:
    import gc, sys, libleash
    class Job:
        def __init__(self):
            self.client = libleash.Client(sys.argv[1:])
            self.call = self.client.submit("ask", [1])
            self.me = self
    job = Job()
    job.client.close()
    # A collector comes to them in any order, and so does the interpreter's end.
    del job
    gc.collect()
    client = libleash.Client(sys.argv[1:])
    calls = [client.submit("ask", [n]) for n in range(3)]
    client.close()
    """
    done = run_python(code, *demo)
    assert (done.status, done.stderr) == (0, "")


def test_an_exception_ends_the_interpreter_with_open_clients(
    run_python: Any, demo: List[str]
) -> None:
    code = """if True:
    import asyncio, sys, libleash
    async def main():
        client = await libleash.AsyncClient(sys.argv[1:]).open()
        asyncio.ensure_future(client.call("ask", [1]))
        await asyncio.sleep(0)
        raise RuntimeError("bug")
    client = libleash.Client(sys.argv[1:])
    asyncio.run(main())
    """
    done = run_python(code, *demo)
    assert done.status == 1 and "RuntimeError: bug" in done.stderr


def test_a_killed_interpreter_leaves_nothing(run_python: Any, misbehave: Misbehave) -> None:
    code = """if True:
    import os, signal, sys, libleash
    client = libleash.Client(sys.argv[1:], exit_after=0.1, kill_after=0.1)
    os.kill(os.getpid(), signal.SIGKILL)
    """
    script = misbehave("sh:setsid sleep 300 &", "ignore-term", "ignore-eof", "never-read")
    assert run_python(code, *script).status == -signal.SIGKILL
    # And nothing_is_left looks.


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="its warning is about our threads")
def test_a_forked_child_is_told_in_this_process(demo: List[str]) -> None:
    with Client(demo) as client:
        pid = os.fork()
        if pid == 0:
            try:
                client.call("echo")
            except libleash.ForkedError:
                os._exit(7)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        assert client.call("echo", [1]) == [1]


def test_a_forked_child_gets_a_clear_error(run_python: Any, demo: List[str]) -> None:
    code = """if True:
    import asyncio, os, sys, threading, warnings
    warnings.simplefilter("ignore", DeprecationWarning)
    import libleash
    from libleash import _connection
    client = libleash.Client(sys.argv[1:])
    client.on_request("x", lambda request: None)
    # What another thread held at the fork, nobody gives back in the child.
    def hold():
        client._inbox._lock.acquire()
        client._pump_lock.acquire()
        held.set()
        released.wait()
        client._pump_lock.release()
        client._inbox._lock.release()
    held, released = threading.Event(), threading.Event()
    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    pid = os.fork()
    if pid == 0:
        for work in (
            lambda: client.call("echo", [1]),
            lambda: client.poll(1),
            lambda: client.notify("x"),
            lambda: client.submit("x"),
            lambda: client.fileno(),
            lambda: libleash.Client(sys.argv[1:]),
            lambda: asyncio.run(libleash.AsyncClient(sys.argv[1:]).open()),
        ):
            try:
                work()
                print("no error")
            except libleash.ForkedError as error:
                assert "forked" in str(error)
        try:
            client.close()
        except libleash.ForkedError:
            print("forked", flush=True)
        sys.exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    released.set()
    holder.join()
    print(client.call("echo", [1]))
    client.close()
    """
    done = run_python(code, *demo)
    assert (done.status, done.stdout) == (0, "forked\n[1]\n"), done.stderr


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing(method: str, run_python: Any, demo: List[str], tmp_path: Any) -> None:
    (tmp_path / "work.py").write_text(
        """if True:
    import libleash
    def use(argv):
        try:
            with libleash.Client(argv) as client:
                return client.call("echo", [1])
        except libleash.ForkedError as error:
            return "forked"
    """
    )
    code = """if True:
    import multiprocessing, sys, warnings
    warnings.simplefilter("ignore", DeprecationWarning)
    sys.path.insert(0, sys.argv[1])
    import libleash, work
    if __name__ == "__main__":
        context = multiprocessing.get_context(sys.argv[2])
        with libleash.Client(sys.argv[3:]) as client:
            with context.Pool(2) as pool:
                print(pool.map(work.use, [sys.argv[3:]] * 2))
            print(client.call("echo", [2]))
    """
    done = run_python(code, str(tmp_path), method, *demo)
    said = "['forked', 'forked']" if method == "fork" else "[[1], [1]]"
    assert (done.status, done.stdout) == (0, f"{said}\n[2]\n"), done.stderr


def test_import_alone_does_not_forbid_forks(run_python: Any, demo: List[str]) -> None:
    code = """if True:
    import os, sys, libleash
    pid = os.fork()
    if pid == 0:
        with libleash.Client(sys.argv[1:]) as client:
            sys.exit(client.call("echo", [7])[0])
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    """
    done = run_python(code, *demo)
    assert done.stdout == "7\n", done.stderr
