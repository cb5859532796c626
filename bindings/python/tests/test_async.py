"""The client for asyncio."""

from __future__ import annotations

import asyncio
import errno
import gc
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, Coroutine, Dict, List

import libleash
import pytest
from libleash import AsyncClient, Closed, Notification, Opened, Request, Stage

Misbehave = Callable[..., List[str]]
FAST: Dict[str, Any] = {"exit_after": 0.0, "kill_after": 0.0}


if TYPE_CHECKING:
    from typing_extensions import assert_type

    async def results_have_types(client: AsyncClient) -> None:
        assert_type(await client.call("m", raw=True), bytes)
        assert_type(await client.submit("m", raw=True), bytes)
        assert_type(await client.call("m"), Any)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 60))


def test_calls_and_events(demo: List[str]) -> None:
    async def main() -> None:
        before = threading.active_count()
        async with AsyncClient(demo) as client:
            assert await client.call("echo", {"a": 1}) == {"a": 1}
            assert await client.call("echo", b"[1.10]", raw=True) == b"[1.10]"
            with pytest.raises(libleash.RpcError) as caught:
                await client.call("nope")
            assert caught.value.code == -32601
            assert threading.active_count() == before
            assert client.pid is not None
            client.on_request("demo/question", lambda request: request.params)
            assert await client.call("ask", [1]) == [1]

            async def later(request: Request) -> Any:
                return {"nested": await client.call("echo", request.params)}

            client.on_request("demo/question", later)
            assert await client.call("ask", [2]) == {"nested": [2]}

            async def refuse(request: Request) -> Any:
                raise libleash.RpcError(-7, "not now", [1])

            client.on_request("demo/question", refuse)
            with pytest.raises(libleash.RpcError, match="not now"):
                await client.call("ask", [3])
        events = [event async for event in client]
        assert [type(event) for event in events] == [Opened, Closed]
        closed = events[-1]
        assert isinstance(closed, Closed) and (closed.exit_code, closed.status) == (0, 0)
        with pytest.raises(libleash.ClosedError):
            await client.poll()
        with pytest.raises(libleash.ClosedError):
            await client.call("echo")

    run(main())


def test_ten_thousand_calls_in_flight(misbehave: Misbehave) -> None:
    async def main() -> None:
        # The server answers when it has them all, and that is after the count.
        async with AsyncClient(misbehave("shuffle:10000")) as client:
            calls = [client.submit("x", [n]) for n in range(9_999)]
            assert client.pending == 9_999
            calls.append(client.submit("x", [9_999]))
            assert await asyncio.gather(*calls) == [[n] for n in range(10_000)]
            assert client.pending == 0 and not client._calls

    run(main())


def test_cancelling_a_task_cancels_the_call(misbehave: Misbehave) -> None:
    async def main() -> None:
        script = misbehave("recv:2", "notify:told", "never-read")
        async with AsyncClient(script, protocol="mcp", **FAST) as client:
            task = asyncio.ensure_future(client.call("x"))
            await asyncio.sleep(0)
            assert client.pending == 1
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert client.pending == 0
            # The server has read the call and the cancel.
            while not isinstance(await client.poll(10), Notification):
                pass

    run(main())


def test_a_storm_of_cancels(demo: List[str]) -> None:
    async def main() -> None:
        async with AsyncClient(demo, protocol="jsonrpc") as client:
            for _ in range(5):
                tasks = [asyncio.ensure_future(client.call("echo", [n])) for n in range(1000)]
                await asyncio.sleep(0)
                for task in tasks[::2]:
                    task.cancel()
                results = await asyncio.gather(*tasks, return_exceptions=True)
                for n, result in enumerate(results):
                    # One may have ended before its cancel came.
                    assert result == [n] or (
                        n % 2 == 0 and isinstance(result, asyncio.CancelledError)
                    )
            assert client.pending == 0 and not client._calls
            assert await client.call("echo", [1]) == [1]

    run(main())


def test_timeouts(misbehave: Misbehave) -> None:
    async def main() -> None:
        async with AsyncClient(misbehave("never-read"), timeout=0.05, **FAST) as client:
            with pytest.raises(libleash.CallTimeout):
                await client.call("x")
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.call("x", timeout=50), 0.05)
            assert client.pending == 0
            assert isinstance(await client.poll(1), Opened)
            assert await client.poll(0.01) is None
            assert await client.poll(0) is None
            task = asyncio.ensure_future(client.poll())
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not client._takers

    run(main())


def test_errors_of_the_start() -> None:
    async def main() -> None:
        with pytest.raises(libleash.SpawnError) as caught:
            async with AsyncClient(["/nonexistent/server"]):
                pass
        assert caught.value.errno == errno.ENOENT
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            with pytest.raises(libleash.ConnectError) as refused:
                await AsyncClient(url=f"ws://127.0.0.1:{unused.getsockname()[1]}").open()
        assert refused.value.errno == errno.ECONNREFUSED
        client = AsyncClient(["true"])
        with pytest.raises(libleash.StateError):
            await client.call("x")
        with pytest.raises(libleash.InvalidError, match="No such file"):
            async with AsyncClient(environment="x", config="/nonexistent"):
                pass

    run(main())


def test_the_end_of_the_server_ends_calls(misbehave: Misbehave) -> None:
    async def main() -> None:
        client = AsyncClient(misbehave("recv:3", "exit:5"))
        await client.open()
        results = await asyncio.gather(
            *(client.call("x") for _ in range(3)), return_exceptions=True
        )
        assert all(isinstance(result, libleash.ClosedError) for result in results)
        closed = [event async for event in client][-1]
        assert isinstance(closed, Closed) and closed.exit_code == 5
        await client.close()

    run(main())


def test_close_is_awaited_and_kills(misbehave: Misbehave) -> None:
    async def main() -> None:
        script = misbehave("ignore-term", "ignore-eof", "never-read")
        client = await AsyncClient(script, exit_after=0.1, kill_after=0.1).open()
        pending = asyncio.ensure_future(client.call("x"))
        await asyncio.sleep(0)
        with pytest.raises(libleash.CloseTimeout):
            await client.close(0.01)
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        ticker = asyncio.ensure_future(tick())
        await client.close()
        ticker.cancel()
        # The loop went on meanwhile.
        assert ticks >= 5
        with pytest.raises(libleash.ClosedError):
            await pending
        closed = [event async for event in client][-1]
        assert isinstance(closed, Closed) and closed.stage == Stage.KILL

    run(main())


def test_unread_events_stop_the_peer_and_are_told(misbehave: Misbehave) -> None:
    async def main() -> None:
        script = misbehave("flood:100", "request", "reply:1", "request", "reply:2")
        async with AsyncClient(script, queue_events=10, **FAST) as client:
            with pytest.raises(libleash.FullError):
                await client.call("x", timeout=20)
            events = [await client.poll(10) for _ in range(101)]
            numbers = [e.params["n"] for e in events if isinstance(e, Notification)]
            assert numbers == list(range(100))
            assert await client.call("x") == 2

    run(main())


def test_several_tasks_take_events(misbehave: Misbehave) -> None:
    async def main() -> None:
        async with AsyncClient(misbehave("flood:1000", "exit:0")) as client:

            async def take() -> List[Any]:
                return [event async for event in client]

            taken = await asyncio.gather(*(take() for _ in range(4)))
            numbers = [e.params["n"] for part in taken for e in part if isinstance(e, Notification)]
            assert sorted(numbers) == list(range(1000))

    run(main())


def test_a_poll_that_is_cancelled_loses_nothing(misbehave: Misbehave) -> None:
    async def main() -> None:
        async with AsyncClient(misbehave("flood:200", "recv"), **FAST) as client:
            numbers: List[int] = []
            while len(numbers) < 200:
                task = asyncio.ensure_future(client.poll())
                await asyncio.sleep(0)
                task.cancel()
                try:
                    event = await task
                except asyncio.CancelledError:
                    continue
                if isinstance(event, Notification):
                    numbers.append(event.params["n"])
            assert numbers == list(range(200))

    run(main())


def test_a_client_that_is_dropped_is_torn_down_and_told(misbehave: Misbehave) -> None:
    async def main() -> None:
        client = await AsyncClient(misbehave("never-read"), **FAST).open()
        with pytest.warns(ResourceWarning, match="unclosed"):
            del client
            gc.collect()
        await asyncio.sleep(0)

    run(main())


def test_a_loop_that_runs_already_as_in_jupyter(demo: List[str]) -> None:
    # Cells run as tasks of one loop, and a client lives from cell to cell. The
    # client for threads works there, too.
    loop = asyncio.new_event_loop()
    cells: List[Any] = []
    names: dict[str, Any] = {}

    async def first() -> None:
        names["client"] = await AsyncClient(demo).open()

    async def second() -> None:
        cells.append(await names["client"].call("echo", [1]))
        with libleash.Client(demo) as other:
            cells.append(other.call("echo", [2]))

    async def third() -> None:
        await names["client"].close()

    for cell in (first, second, third):
        loop.run_until_complete(cell())
    loop.close()
    assert cells == [[1], [2]]


def test_the_loop_has_its_turn_in_a_flood(misbehave: Misbehave) -> None:
    async def main() -> float:
        longest, seen = 0.0, 0
        client = AsyncClient(misbehave("flood:20000", "recv"), **FAST)

        @client.on_notification("flood")
        def count(event: Notification) -> None:
            nonlocal seen
            seen += 1

        async with client:
            # What this thread computes: other programs may stop it for any time.
            last = time.thread_time()
            while seen < 20_000:
                await asyncio.sleep(0)
                now = time.thread_time()
                longest, last = max(longest, now - last), now
        return longest

    # 1 ms by design; the garbage collector may add to it.
    assert run(main()) < 0.05
