"""The client for threads and plain scripts: that of asyncio, each method run to its end where it is called."""

import contextlib
import functools
import os
import select
import time
from collections.abc import Awaitable, Generator
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar, Union

from ._async import AsyncClient, AsyncLease
from ._errors import ConnectError
from ._values import Acquired, Status
from ._wire import Connection

if TYPE_CHECKING:
    from typing_extensions import Concatenate, ParamSpec

    P = ParamSpec("P")
T = TypeVar("T")


def finish(doing: Awaitable[T]) -> T:
    """The result of what a BlockingClient does: that one never suspends, so that one step is all of it."""
    try:
        doing.__await__().send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    raise AssertionError("it suspended")


def blocking(method: "Callable[Concatenate[Any, P], Awaitable[T]]") -> "Callable[Concatenate[Any, P], T]":
    """The same method, for a class that has the asynchronous object in `_async`."""

    @functools.wraps(method)
    def run(self: Any, /, *args: "P.args", **named: "P.kwargs") -> T:
        return finish(method(self._async, *args, **named))

    return run


class BlockingClient(AsyncClient):
    async def _start_daemon(self, nobody: ConnectError) -> None:
        self._start(nobody)

    async def _wait(self, conn: Connection, seconds: float) -> None:
        poll = select.poll()
        poll.register(conn.sock, select.POLLIN)
        poll.poll(seconds * 1000)

    async def _pause(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 (this never runs in a loop)


class Lease(Acquired):
    """An acquired environment. It is given back by release(), or at the end of a with block."""

    def __init__(self, lease: AsyncLease) -> None:
        vars(self).update(vars(lease), _async=lease)

    def __enter__(self) -> "Lease":
        return self

    release = blocking(AsyncLease.release)
    __exit__ = blocking(AsyncLease.__aexit__)


def leasing(acquire: "Callable[P, AsyncLease]") -> "Callable[P, Lease]":
    @functools.wraps(acquire)
    def run(*args: "P.args", **named: "P.kwargs") -> Lease:
        return Lease(acquire(*args, **named))

    return run


class Client:
    """Talks to the daemon. Threads may share it: a call has a connection to itself while it lasts."""

    def __init__(
        self,
        socket: Union[str, "os.PathLike[str]", None] = None,
        *,
        timeout: Optional[float] = 3.0,
        autostart: bool = False,
        runt: Union[str, "os.PathLike[str]", None] = None,
    ) -> None:
        """`socket` is where the daemon listens (default: as docs/protocol.md says), `timeout` the seconds that any answer may take.

        With `autostart`, the first call has a daemon started where none can be reached, by `runt` (default: the one on PATH, else in
        ~/.local/bin), and so has an acquire whose daemon ends while it waits. RUNTIMED_NO_START, if set, forbids it.
        """
        self._async = BlockingClient(socket, timeout=timeout, autostart=autostart, runt=runt)

    def __enter__(self) -> "Client":
        return self

    def watch(self) -> Generator[Status, None, None]:
        """The status, and again after every change, until the client is closed. It has a connection of its own."""
        statuses = self._async.watch()
        try:
            with contextlib.suppress(StopAsyncIteration):
                while True:
                    yield finish(statuses.__anext__())
        finally:
            finish(statuses.aclose())

    info = blocking(AsyncClient.info)
    status = blocking(AsyncClient.status)
    acquire = leasing(blocking(AsyncClient.acquire))
    release = blocking(AsyncClient.release)
    adopt = blocking(AsyncClient.adopt)
    call = blocking(AsyncClient.call)
    close = blocking(AsyncClient.close)
    __exit__ = blocking(AsyncClient.__aexit__)
