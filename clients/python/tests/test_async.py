"""What the asyncio client does beside calling."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

import pytest
from fake import POOL, FakeDaemon, Peer
from listening import WINDOWS

from runtimed_client import AsyncClient, ConnectError, RPCError

Request = dict[str, Any]


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main, debug=True)


async def until(condition: Any) -> None:
    for _ in range(5000):
        if condition():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it did not happen in time")


def test_leases(fake: FakeDaemon) -> None:
    async def main() -> None:
        async with AsyncClient(fake.path) as c:
            async with await c.acquire("uv", wait=0) as env:
                assert list(fake.leases) == [env.id]
            assert not fake.leases
            env = await c.acquire()
            async with env:
                assert list(fake.leases) == [env.id]
            assert not fake.leases
            async with await c.acquire():
                fake.leases.clear()  # somebody else has released it
            env = await c.acquire()
            await env.release()
            with pytest.raises(RPCError) as caught:
                await c.release(env)
            assert caught.value.kind == "unknown_env"
            async with await c.acquire() as env:
                assert (await c.adopt(env, 4242)).id == env.id
            assert list(fake.leases) == [env.id]
            assert (await c.status())["uv"].available == 3

    run(main())


def test_many_tasks(fake: FakeDaemon) -> None:
    many = 10 if WINDOWS else 50  # a pipe has one free end at a time, for which they contend

    async def main() -> None:
        async def work() -> None:
            for _ in range(5):
                async with await c.acquire():
                    await c.info()

        async with AsyncClient(fake.path, timeout=30) as c:
            await asyncio.gather(*(work() for _ in range(many)))
            assert not c._busy
        assert fake.given == 5 * many
        assert not fake.leases

    run(main())


def test_one_client_in_several_loops(fake: FakeDaemon) -> None:
    c = AsyncClient(fake.path)

    async def main() -> None:
        assert (await c.info()).name == "runtimed"

    run(main())
    run(main())
    run(c.close())


def test_cancelling_closes_the_connection(fake: FakeDaemon) -> None:
    fake.hook = lambda peer, request: request["method"] == "pool.acquire"

    async def main() -> None:
        async with AsyncClient(fake.path) as c:
            acquiring = asyncio.ensure_future(c.acquire(wait=30))
            await until(lambda: fake.requests)
            acquiring.cancel()
            with pytest.raises(asyncio.CancelledError):
                await acquiring
            await until(fake.peers[0].gone.is_set)
            assert not c._busy
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(c.acquire(wait=30), 0.1)
            assert (await c.info()).name == "runtimed"
            assert len(fake.peers) == 3

    run(main())


def test_an_environment_that_comes_as_the_task_is_cancelled_goes_back(fake: FakeDaemon) -> None:
    go, answered = threading.Event(), threading.Event()

    def hook(peer: Peer, request: Request) -> bool:
        if request["method"] != "pool.acquire":
            return False
        go.wait(10)
        peer.send({"id": request["id"], **fake.answer(request["method"], request["params"])})
        answered.set()
        return True

    fake.hook = hook

    async def main() -> None:
        async with AsyncClient(fake.path) as c:
            acquiring = asyncio.ensure_future(c.acquire(wait=30))
            await until(lambda: fake.requests)
            go.set()
            assert answered.wait(10)  # this blocks the loop, so that the answer lies unread in the socket
            acquiring.cancel()
            with pytest.raises(asyncio.CancelledError):
                await acquiring
            assert fake.given == 1
            assert not fake.leases

    run(main())


def test_watch(fake: FakeDaemon) -> None:
    async def main() -> None:
        async with AsyncClient(fake.path, timeout=0.2) as c:
            seen = []
            async for status in c.watch():
                seen.append(status["uv"].available)
                if len(seen) == 3:
                    break
                await asyncio.sleep(0.15)
                changed = {**POOL, "available": 10 + len(seen)}
                fake.peers[0].send({"method": "pool.changed", "params": {"pool": changed}})
            assert seen == [3, 11, 12]
            await until(fake.peers[0].gone.is_set)

    run(main())


def test_closing_ends_what_is_on(fake: FakeDaemon) -> None:
    fake.hook = lambda peer, request: request["method"] == "pool.acquire"

    async def main() -> None:
        c = AsyncClient(fake.path)

        async def watch() -> list[str]:
            return [status["uv"].name async for status in c.watch()]

        waiting, watching = asyncio.ensure_future(c.acquire()), asyncio.ensure_future(watch())
        await until(lambda: len(fake.requests) == 2)
        await asyncio.sleep(0.05)
        await c.close()
        with pytest.raises(ConnectError):
            await waiting
        assert await watching == ["uv"]
        assert not c._busy
        with pytest.raises(ConnectError, match="client is closed"):
            await c.info()

    run(main())
