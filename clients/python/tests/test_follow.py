"""What a call does whose daemon is replaced before it answers."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable

import pytest
from fake import FakeDaemon, Peer, wait_until
from listening import WINDOWS, forget

from runtimed_client import AsyncClient, Client, ConnectError, RPCError

Request = dict[str, Any]
STOPPING = {"code": -32005, "message": "the daemon is stopping", "data": {"kind": "shutting_down"}}


def sync(path: str, **named: Any) -> str:
    with Client(path, timeout=1) as c:
        return c.acquire(**named).id


def in_asyncio(path: str, **named: Any) -> str:
    async def main() -> str:
        async with AsyncClient(path, timeout=1) as c:
            return (await c.acquire(**named)).id

    return asyncio.run(main())


both = pytest.mark.parametrize("acquire", [sync, in_asyncio])


def once(*methods: str, how: Callable[[Peer, Request], None]) -> Callable[[Peer, Request], bool]:
    """A hook that deals with the first request of these methods."""
    seen: list[Request] = []

    def hook(peer: Peer, request: Request) -> bool:
        if request["method"] not in methods or seen:
            return False
        seen.append(request)
        how(peer, request)
        return True

    return hook


def closes(peer: Peer, request: Request) -> None:
    peer.hang_up()


def always_closes(peer: Peer, request: Request) -> bool:
    peer.hang_up()
    return True


def gone(fake: FakeDaemon) -> None:
    fake.stop()
    forget(fake.path)


@both
def test_a_waiting_acquire_follows_to_the_next_daemon(fake: FakeDaemon, acquire: Callable[..., str]) -> None:
    fake.hook = lambda peer, request: True
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(acquire, fake.path, wait=30)
        wait_until(lambda: fake.requests)
        gone(fake)
        time.sleep(0.5)
        again = FakeDaemon(fake.path)
        try:
            assert waiting.result(10)
        finally:
            again.stop()
    (first,), (second, *_) = fake.requests, again.requests
    assert first["params"]["key"] == second["params"]["key"]
    assert first["params"]["wait_ms"] == 30_000
    assert 0 < second["params"]["wait_ms"] <= 29_500


def test_an_answer_that_was_lost_costs_no_environment(fake: FakeDaemon) -> None:
    def answers_and_dies(peer: Peer, request: Request) -> None:
        fake.answer(request["method"], request["params"])
        peer.sock.sendall(b'{"jsonrpc"')
        peer.hang_up()

    fake.hook = once("pool.acquire", how=answers_and_dies)
    with Client(fake.path) as c:
        assert c.acquire().id
        assert len(fake.leases) == 1


def test_a_daemon_that_stops_is_asked_until_the_next_one_is_there(fake: FakeDaemon) -> None:
    asked = 0

    def hook(peer: Peer, request: Request) -> bool:
        nonlocal asked
        asked += 1
        if asked < 8:
            peer.send({"id": request["id"], "error": STOPPING})
        return asked < 8

    fake.hook = hook
    with Client(fake.path) as c:
        c.acquire(key="mine")
    assert {request["params"]["key"] for request in fake.requests} == {"mine"}


@pytest.mark.parametrize("method", ["daemon.info", "pool.status"])
def test_what_only_asks_is_asked_again(fake: FakeDaemon, method: str) -> None:
    fake.hook = once(method, how=closes)
    with Client(fake.path) as c:
        c.call(method)
    assert fake.methods() == [method, method]


def test_a_release_that_was_done_before_its_answer_was_lost_is_done(fake: FakeDaemon) -> None:
    def releases(peer: Peer, request: Request) -> None:
        fake.answer(request["method"], request["params"])
        peer.hang_up()

    with Client(fake.path) as c:
        lease = c.acquire()
        fake.hook = once("pool.release", how=releases)
        lease.release()
        assert not fake.leases
        with pytest.raises(RPCError) as caught:
            lease.release()
        assert caught.value.kind == "unknown_env"


def test_what_would_do_something_twice_is_not_asked_again(fake: FakeDaemon) -> None:
    fake.hook = always_closes
    with Client(fake.path) as c:
        for method in ("pool.flush", "daemon.shutdown", "pool.acquire"):  # this one without a key
            with pytest.raises(ConnectError) as caught:
                c.call(method)
            assert caught.value.kind == "closed"
    assert len(fake.requests) == 3


def test_who_always_hangs_up_is_given_up(fake: FakeDaemon) -> None:
    fake.hook = always_closes
    with Client(fake.path) as c, pytest.raises(ConnectError) as caught:
        c.acquire(wait=600)
    assert caught.value.kind == "closed"
    assert len(fake.requests) == 6


@both
def test_following_ends_with_the_time_that_the_call_has(fake: FakeDaemon, acquire: Callable[..., str]) -> None:
    fake.hook = once("pool.acquire", how=lambda peer, request: threading.Thread(target=fake.stop).start())
    start = time.monotonic()
    with pytest.raises(ConnectError) as caught:
        acquire(fake.path, wait=0)
    assert caught.value.kind in ("unreachable", "closed")
    assert 0.5 < time.monotonic() - start < 20


def test_closing_the_client_ends_the_following(fake: FakeDaemon) -> None:
    fake.hook = lambda peer, request: True
    with Client(fake.path) as c, ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(c.acquire, wait=600)
        wait_until(lambda: fake.requests)
        gone(fake)
        time.sleep(0.3)
        c.close()
        with pytest.raises(ConnectError):
            waiting.result(10)


def test_a_cancelled_task_follows_no_longer(fake: FakeDaemon) -> None:
    async def main() -> None:
        async with AsyncClient(fake.path) as c:
            task = asyncio.create_task(c.acquire(wait=600))
            await asyncio.to_thread(wait_until, lambda: fake.requests)
            await asyncio.to_thread(gone, fake)
            await asyncio.sleep(0.3)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            assert task.cancelled()

    fake.hook = lambda peer, request: True
    asyncio.run(main())


@pytest.mark.parametrize("allowed", [True, False])
def test_an_acquire_starts_the_next_daemon_where_that_is_allowed(
    fake: FakeDaemon, folder: Path, monkeypatch: pytest.MonkeyPatch, allowed: bool
) -> None:
    runt = folder / ("runt.bat" if WINDOWS else "runt")
    shell = f'#!/bin/sh\necho "runt: error: no" >&2\necho "$@" >>{folder}/calls\nexit 1\n'
    batch = '@echo runt: error: no>&2\n@echo %*>>"%~dp0calls"\n@exit 1\n'
    runt.write_text(batch if WINDOWS else shell)
    runt.chmod(0o755)
    fake.hook = lambda peer, request: request["method"] == "pool.acquire"
    monkeypatch.setenv("RUNTIMED_NO_START", "")
    with Client(fake.path, timeout=1, autostart=allowed, runt=runt) as c, ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(c.acquire, wait=0)
        wait_until(lambda: "pool.acquire" in fake.methods())
        gone(fake)
        with pytest.raises(ConnectError) as caught:
            waiting.result(20)
    assert caught.value.kind == "unreachable"
    assert ("starting one failed" in caught.value.message) == allowed
    assert not allowed or (folder / "calls").read_text() == "daemon start --auto\n"
