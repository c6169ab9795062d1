"""The two faces of the core: AsyncClient for asyncio, and Client for threads and plain scripts."""

import asyncio
import functools
import select
import time
from collections.abc import Awaitable, Generator
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar

from ._client import Core
from ._errors import RuntimedError
from ._start import Place
from ._values import Acquired, Status

if TYPE_CHECKING:
    from typing_extensions import Concatenate, ParamSpec

    P = ParamSpec("P")
T = TypeVar("T")


class AsyncLease(Acquired):
    """An acquired environment. release(), or the end of an async with block, gives it back."""

    _client: Core["AsyncLease"]

    async def release(self) -> None:
        """Give it back. Doing so twice is an RPCError of kind unknown_env."""
        await self._client.release(self)

    async def __aenter__(self) -> "AsyncLease":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._client._leave(self, exc[0] is not None)


class AsyncClient(Core[AsyncLease]):
    """Talks to the daemon from asyncio. Tasks may share it: each call has a connection of its own."""

    _lease = AsyncLease

    async def _wait(self, seconds: float, sock: Any = None) -> None:
        loop, woken = asyncio.get_running_loop(), asyncio.Event()
        timer = loop.call_later(seconds, woken.set)
        if sock:
            loop.add_reader(sock, woken.set)
        try:
            await woken.wait()
        finally:
            timer.cancel()
            if sock:
                loop.remove_reader(sock)

    async def _start(self, unreachable: RuntimedError) -> None:
        await asyncio.to_thread(self._starter.start, unreachable)

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


def finish(doing: Awaitable[T]) -> T:
    """The result of a coroutine of Blocking, which one step runs to its end."""
    try:
        doing.__await__().send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    raise AssertionError("it suspended")


class Lease(Acquired):
    """An acquired environment. release(), or the end of a with block, gives it back."""

    _client: Core["Lease"]

    def release(self) -> None:
        """Give it back. Doing so twice is an RPCError of kind unknown_env."""
        finish(self._client.release(self))

    def __enter__(self) -> "Lease":
        return self

    def __exit__(self, *exc: object) -> None:
        finish(self._client._leave(self, exc[0] is not None))


class Blocking(Core[Lease]):
    """The core for threads. Its waits block, so its coroutines never suspend."""

    _lease = Lease

    async def _wait(self, seconds: float, sock: Any = None) -> None:
        if sock:
            poll = select.poll()
            poll.register(sock, select.POLLIN)
            poll.poll(seconds * 1000)
        else:
            time.sleep(seconds)  # noqa: ASYNC251 (no loop runs this)

    async def _start(self, unreachable: RuntimedError) -> None:
        self._starter.start(unreachable)


def blocking(method: "Callable[Concatenate[Any, P], Awaitable[T]]") -> "Callable[Concatenate[Any, P], T]":
    @functools.wraps(method)
    def run(self: "Client", /, *args: "P.args", **named: "P.kwargs") -> T:
        return finish(method(self._core, *args, **named))

    return run


class Client:
    """Talks to the daemon. Threads may share it: each call has a connection of its own."""

    def __init__(
        self, socket: Place = None, *, timeout: Optional[float] = 3.0, autostart: bool = False, runt: Place = None
    ) -> None:
        self._core = Blocking(socket, timeout=timeout, autostart=autostart, runt=runt)

    __init__.__doc__ = Core.__init__.__doc__

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def watch(self) -> Generator[Status, None, None]:
        """The status, and again after every change, until the client is closed. It has a connection of its own."""
        statuses = self._core.watch()
        try:
            while True:
                yield finish(statuses.__anext__())
        except StopAsyncIteration:
            return
        finally:
            finish(statuses.aclose())

    info = blocking(Blocking.info)
    status = blocking(Blocking.status)
    acquire = blocking(Blocking.acquire)
    release = blocking(Blocking.release)
    adopt = blocking(Blocking.adopt)
    call = blocking(Blocking.call)
    close = blocking(Blocking.close)
