"""A pipe of Windows, played by a socket behind a stand-in for the system's functions."""

import asyncio
import select
import socket
import sys
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from fake import FakeDaemon, Peer

from runtimed_client import AsyncClient, Client, ConnectError, RequestTimeout, Status

PIPE = "\\\\.\\pipe\\runtimed-ada"


def failure(winerror: int, kind: type[OSError] = OSError) -> OSError:
    error = kind(winerror, "as Windows says")
    vars(error)["winerror"] = winerror
    return error


class WinAPI(SimpleNamespace):
    """The part of _winapi that the client uses. Handles are sockets, so a use after the end is seen."""

    GENERIC_READ, GENERIC_WRITE, NULL, OPEN_EXISTING = 1 << 31, 1 << 30, 0, 3

    def __init__(self, path: str) -> None:
        self.path, self.busy, self.opened, self.closed = path, 0, 0, 0

    def CreateFile(self, path: str, *options: int) -> socket.socket:
        assert (path, options[0], options[1], options[3]) == (PIPE, 3 << 30, 0, 3)
        if self.busy:
            self.busy -= 1
            raise failure(231)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(self.path)
        except OSError as exc:
            sock.close()
            raise failure(2, FileNotFoundError) from exc
        self.opened += 1
        return sock

    def PeekNamedPipe(self, handle: socket.socket, size: int = 0) -> tuple[Any, ...]:
        if not select.select([handle], [], [], 0)[0]:
            return (b"", 0, 0) if size else (0, 0)
        try:
            data = handle.recv(1 << 20, socket.MSG_PEEK)
        except ConnectionResetError:
            data = b""
        if not data:
            raise failure(109, BrokenPipeError)
        return (data[:size], len(data), 0) if size else (len(data), 0)

    def ReadFile(self, handle: socket.socket, size: int) -> tuple[bytes, int]:
        return handle.recv(size), 0

    def WriteFile(self, handle: socket.socket, data: bytes) -> tuple[int, int]:
        return handle.send(data), 0

    def CloseHandle(self, handle: socket.socket) -> None:
        self.closed += 1
        handle.close()


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch, fake: FakeDaemon) -> WinAPI:
    api = WinAPI(fake.path)
    monkeypatch.setitem(sys.modules, "_winapi", api)
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr("runtimed_client._pipe.made_by_us", lambda handle: True)
    return api


def test_calls_go_through_the_pipe(system: WinAPI, fake: FakeDaemon) -> None:
    with Client(PIPE) as client:
        assert client.info().name == "runtimed"
        with client.acquire() as lease:
            assert lease.id in fake.leases
        assert not fake.leases
    assert system.opened == system.closed == 3


def test_calls_go_through_the_pipe_in_asyncio(system: WinAPI, fake: FakeDaemon) -> None:
    async def main() -> None:
        async with AsyncClient(PIPE) as client:
            infos = await asyncio.gather(*(client.info() for _ in range(5)))
            assert {info.name for info in infos} == {"runtimed"}
            task = asyncio.create_task(client.info())
            fake.hook = lambda peer, request: True
            await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert system.opened == system.closed


def test_a_busy_pipe_is_tried_again(system: WinAPI) -> None:
    system.busy = 3
    with Client(PIPE) as client:
        assert client.info().name == "runtimed"
    assert system.busy == 0


def test_a_pipe_that_stays_busy_is_a_timeout(system: WinAPI) -> None:
    system.busy = 1 << 30
    with Client(PIPE, timeout=0.1) as client, pytest.raises(RequestTimeout):
        client.info()


def test_no_pipe_is_no_daemon(system: WinAPI, fake: FakeDaemon) -> None:
    fake.stop()
    with Client(PIPE) as client, pytest.raises(ConnectError, match="no daemon can be reached") as caught:
        client.info()
    assert caught.value.kind == "unreachable"
    assert "runt daemon start" in str(caught.value.hint)


@pytest.mark.usefixtures("system")
def test_a_pipe_that_another_user_made_is_refused(fake: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtimed_client._pipe.made_by_us", lambda handle: False)
    with Client(PIPE) as client, pytest.raises(ConnectError, match="another user") as caught:
        client.info()
    assert caught.value.kind == "untrusted"
    assert not fake.requests


def test_the_other_side_closes(system: WinAPI, fake: FakeDaemon) -> None:
    def hang_up(peer: Peer, request: dict[str, Any]) -> bool:
        peer.hang_up()
        return True

    fake.hook = hang_up
    with Client(PIPE) as client, pytest.raises(ConnectError) as caught:
        client.info()
    assert caught.value.kind == "closed"


def test_closing_ends_a_watch_of_another_thread(system: WinAPI) -> None:
    client = Client(PIPE)
    seen: list[Status] = []
    thread = threading.Thread(target=lambda: seen.extend(client.watch()))
    thread.start()
    while not seen:
        time.sleep(0.001)
    client.close()
    thread.join(10)
    assert not thread.is_alive()
    assert len(seen) == 1
    assert system.opened == system.closed == 1


def test_a_path_of_a_file_is_refused(system: WinAPI) -> None:
    with pytest.raises(ConnectError, match="not the name of a pipe"):
        Client("C:\\runt\\a.sock")
