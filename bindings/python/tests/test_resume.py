"""Taking up an exec-server's session after its connection was cut."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import libleash
import pytest
from conftest import Peer
from libleash import Client, ClosedError
from libleash.exec_server import PIPE, ExecServer, OutputLost

Peers = Callable[[str], Peer]


Pair = Tuple[socket.socket, socket.socket]


class Line:
    """A line between a client and a server, by TCP, that can be cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"ws://127.0.0.1:{self._listener.getsockname()[1]}"
        self._pairs: List[Pair] = []
        #: How often it was cut.
        self.cuts = 0
        #: Bytes to the client before the next cut; None is no cut.
        self.until_cut: Optional[int] = None
        #: Cut when the client sends something: "before" the server gets it, or "after" it answers.
        self.on_request: Optional[str] = None
        #: Nobody is let through; somebody was not.
        self.is_down = threading.Event()
        self.has_refused = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.is_down.is_set():
                    client.close()
                    self.has_refused.set()
                    continue
                pair = (client, socket.create_connection(("127.0.0.1", self._port)))
                self._pairs.append(pair)
                for carry in (self._requests, self._answers):
                    self._threads.append(threading.Thread(target=self._carry, args=(carry, pair)))
                    self._threads[-1].start()

    def _carry(self, carry: Callable[[Pair], None], pair: Pair) -> None:
        with contextlib.suppress(OSError):
            carry(pair)
        for end in pair:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _requests(self, pair: Pair) -> None:
        while data := pair[0].recv(1 << 16):
            if self.on_request == "before":
                return self.cut()
            pair[1].sendall(data)

    def _answers(self, pair: Pair) -> None:
        while data := pair[1].recv(1 << 16):
            if self.on_request == "after":
                return self.cut()
            limit = self.until_cut
            if limit is not None and len(data) >= limit:
                # In the middle of a message, of a frame, of anything.
                pair[0].sendall(data[:limit])
                return self.cut()
            if limit is not None:
                self.until_cut = limit - len(data)
            pair[0].sendall(data)

    def cut(self) -> None:
        self.until_cut = self.on_request = None
        self.cuts += 1
        for end in self._pairs[-1]:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()
        for pair in self._pairs:
            for end in pair:
                end.close()


@pytest.fixture
def line(peer: Peers) -> Iterator[Line]:
    codex = peer("codex")
    argv = [codex.argv[0], "exec-server", "--listen", "ws://127.0.0.1:0"]
    # One that listens does not end with its stdin.
    with Client(argv, env=codex.env, exit_after=0) as server:
        texts = (getattr(event, "text", "") for event in server.events(20))
        found = (re.search(r"ws://127\.0\.0\.1:(\d+)", text) for text in texts)
        line = Line(next(int(match.group(1)) for match in found if match))
        yield line
    # The server has ended, and closed what was still open.
    line.close()


# Forty pieces or so, over a second or two.
LINES = """
i=0
while [ $i -lt 4000 ]; do
  i=$((i+1))
  echo $i
  [ $((i % 100)) != 0 ] || sleep 0.03
done
exit 5"""
WANTED = b"".join(b"%d\n" % number for number in range(1, 4001))


def test_not_a_byte_is_lost_when_the_line_is_cut(line: Line) -> None:
    with ExecServer(url=line.url) as server:
        process = server.run(["sh", "-c", LINES])
        output = b""
        # Behind the start's answer, so that each cut is in the middle of the output.
        for cut in (500, 5000, 1, 9000):
            line.until_cut = cut
            before = line.cuts
            while line.cuts == before:
                piece = process.read(20)
                assert piece is not None, "it ended before the cut"
                output += piece.data
        output += b"".join(data for _, data in process)
        assert output == WANTED
        assert process.wait(20) == 5
        assert line.cuts == 4
        # The session is as good as before.
        assert server.check_output(["echo", "on"]) == b"on\n"


def test_what_ends_meanwhile_has_its_end(line: Line, tmp_path: Path) -> None:
    with ExecServer(url=line.url) as server:
        go, done = tmp_path / "go", tmp_path / "done"
        script = f"{until(go)}; echo late; echo err >&2; touch {done}; exit 7"
        process = server.run(["sh", "-c", script])
        line.is_down.set()
        line.cut()
        go.touch()

        def come_back() -> None:
            line.has_refused.wait(20)
            appears(done)
            line.is_down.clear()

        thread = threading.Thread(target=come_back)
        thread.start()
        assert process.communicate(20) == (7, b"late\n", b"err\n")
        thread.join()


def until(file: Path) -> str:
    """For a shell: wait for that file."""
    return f"while [ ! -e {file} ]; do sleep 0.02; done"


def appears(file: Path) -> None:
    patience = time.monotonic() + 20
    while not file.exists():
        assert time.monotonic() < patience, f"{file} does not come"
        time.sleep(0.01)


def test_threads_that_wait_take_it_up_together(line: Line) -> None:
    with ExecServer(url=line.url) as server:
        processes = [server.run(["sh", "-c", f"sleep 0.5; echo {n}"]) for n in range(4)]
        done: Dict[int, Any] = {}

        def wait(number: int) -> None:
            done[number] = processes[number].communicate(20)

        threads = [threading.Thread(target=wait, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        line.cut()
        for thread in threads:
            thread.join()
        assert done == {n: (0, b"%d\n" % n, b"") for n in range(4)}


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_start_and_a_write_happen_once(line: Line, when: str, tmp_path: Path) -> None:
    with ExecServer(url=line.url) as server:
        log = tmp_path / "log"
        line.on_request = when
        process = server.run(["sh", "-c", f"echo started >> {log}; cat"], stdin=PIPE)
        line.on_request = when
        process.write(b"once\n")
        piece = process.read(20)
        assert piece is not None and piece.data == b"once\n"
        line.on_request = when
        # The first answer, which was lost, said that it ran; by the second it may have ended.
        assert process.terminate() or when == "after"
        assert process.wait(20) == 128 + 9
        assert line.cuts == 3
        assert log.read_text() == "started\n"
        assert [data for _, data in process] == []


def test_what_the_server_has_not_kept_is_told(line: Line, tmp_path: Path) -> None:
    with ExecServer(url=line.url) as server:
        go, done = tmp_path / "go", tmp_path / "done"
        script = f"echo first; {until(go)}; seq 1 700000; touch {done}"
        process = server.run(["sh", "-c", script])
        piece = process.read(20)
        assert piece is not None and piece.data == b"first\n"
        line.is_down.set()
        line.cut()
        go.touch()
        appears(done)
        line.is_down.clear()
        with pytest.raises(OutputLost, match="pieces of output were not kept"):
            process.read(20)
        assert b"".join(data for _, data in process).endswith(b"699999\n700000\n")
        assert process.wait(20) == 0


def test_who_waits_keeps_the_own_limit(line: Line) -> None:
    with ExecServer(url=line.url) as server:
        process = server.run(["sh", "-c", "read x; echo got $x"], stdin=PIPE)
        line.is_down.set()
        line.cut()
        failed: List[BaseException] = []

        def wait() -> None:
            with pytest.raises(libleash.CallTimeout) as caught:
                process.wait(0.5)
            failed.append(caught.value)

        # The one dials, the other waits for it.
        threads = [threading.Thread(target=wait) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert len(failed) == 2
        line.is_down.clear()
        process.write(b"it\n")
        assert process.communicate(20) == (0, b"got it\n", b"")


def test_who_cannot_resume_is_told(line: Line) -> None:
    server = ExecServer(url=line.url, resume=0.3)
    process = server.run(["sleep", "300"])
    line.is_down.set()
    line.cut()
    began = time.monotonic()
    with pytest.raises(ClosedError):
        process.wait()
    assert 0.3 <= time.monotonic() - began < 10
    line.is_down.clear()
    # It may be tried again.
    assert process.terminate()
    server.close()
    with pytest.raises(ClosedError):
        server.read_file("/etc/hostname")

    forgotten = ExecServer(url=line.url)
    forgotten._session = "nobody"
    line.cut()
    with pytest.raises(ClosedError, match="the session cannot be resumed"):
        forgotten.read_file("/etc/hostname")
    forgotten.close()


def test_a_close_ends_the_attempts(line: Line) -> None:
    server = ExecServer(url=line.url)
    process = server.run(["sleep", "300"])
    line.is_down.set()
    line.cut()
    failed: List[BaseException] = []

    def wait() -> None:
        try:
            process.wait()
        except libleash.LeashError as error:
            failed.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    assert line.has_refused.wait(20)
    server.close()
    thread.join(10)
    assert not thread.is_alive() and isinstance(failed[0], ClosedError)
