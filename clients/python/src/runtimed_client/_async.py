"""The same client for asyncio."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Generator, Mapping
from dataclasses import fields
from typing import Any, Optional, Union

from ._errors import ConnectError, RPCError, RuntimedError
from ._values import Acquired, Env, Info, Status, decode
from ._wire import CHUNK, CLIENT, Base, Connection, OnProgress, acquire_params, acquired, env_id, info


class AsyncLease(Acquired):
    """An acquired environment. It is given back by release(), or at the end of an async with block."""

    def __init__(self, client: "AsyncClient", env: Acquired) -> None:
        super().__init__(**vars(env))
        self._client = client

    def __reduce__(self) -> tuple[object, ...]:  # pickled or copied it is a value only: the lease stays here
        return Acquired, tuple(vars(self)[member.name] for member in fields(Acquired))

    async def release(self) -> None:
        """Give it back; doing so twice is an RPCError of kind unknown_env."""
        await self._client.release(self)

    async def __aenter__(self) -> "AsyncLease":
        return self

    async def __aexit__(self, kind: Optional[type[BaseException]], exc: Optional[BaseException], trace: object) -> None:
        if self._client._holds(self):
            try:
                await self.release()
            except RuntimedError as error:
                if exc is None and error.kind != "unknown_env":  # released by somebody else is released
                    raise


class Acquiring(Awaitable[AsyncLease]):
    """What AsyncClient.acquire gives: `await` it, or use it in `async with`."""

    def __init__(self, client: "AsyncClient", wait: Optional[float], params: Mapping[str, Any], progress: OnProgress) -> None:
        self._client, self._wait, self._params, self._progress = client, wait, params, progress

    async def _acquire(self) -> AsyncLease:
        result = await self._client.call("pool.acquire", self._params, wait=self._wait, progress=self._progress)
        self._lease = AsyncLease(self._client, acquired(result))
        self._client._hold(self._lease)
        return self._lease

    def __await__(self) -> Generator[Any, None, AsyncLease]:
        return self._acquire().__await__()

    async def __aenter__(self) -> AsyncLease:
        return await self._acquire()

    async def __aexit__(self, *exc: Any) -> None:
        await self._lease.__aexit__(*exc)


class AsyncClient(Base):
    """Talks to the daemon from tasks, without threads. Its connections belong to no loop in particular."""

    async def info(self) -> Info:
        """Who the daemon is."""
        return info(await self.call("daemon.info", {"client": CLIENT}), self.socket)

    async def status(self, pool: Optional[str] = None) -> Status:
        """All pools, or one."""
        return decode(Status, await self.call("pool.status", {} if pool is None else {"pool": pool}), "status")

    def acquire(
        self,
        pool: str = "uv",
        *,
        wait: Optional[float] = None,
        owner_pid: Optional[int] = None,
        label: Optional[str] = None,
        key: Optional[str] = None,
        progress: OnProgress = None,
    ) -> Acquiring:
        """As Client.acquire: `env = await c.acquire()`, or `async with c.acquire() as env`."""
        return Acquiring(self, wait, acquire_params(pool, wait, owner_pid, label, key, progress), progress)

    async def release(self, env: Union[str, Env]) -> None:
        """Give an environment back (an Env or its id)."""
        await self.call("pool.release", {"env": env_id(env)})
        self._let_go(env)

    async def adopt(self, env: Union[str, Env], pid: int) -> Env:
        """Hand the lease to another process: from now on it ends with that one, and no with block of ours ends it."""
        result = await self.call("env.adopt", {"env": env_id(env), "owner_pid": pid})
        self._let_go(env)
        return decode(Env, result.get("env"), "env")

    async def watch(self) -> AsyncGenerator[Status, None]:
        """The status, and again after every change, until the client is closed. It has a connection of its own."""
        conn = await self._open(end := self._end())
        try:
            status = decode(Status, await self._exchange(conn, conn.request("pool.watch", {}), end), "status")
            while True:
                yield status
                while (pool := conn.change()) is None:
                    await self._receive(conn)
                status = status.updated(pool)
        except ConnectError:
            if not self._closed:
                raise
        finally:
            self._drop(conn)

    async def call(
        self, method: str, params: Optional[Mapping[str, Any]] = None, *, wait: Optional[float] = 0.0, progress: OnProgress = None
    ) -> dict[str, Any]:
        """Any method, by its name on the wire; the result as it came. `wait` is on top of the client's timeout."""
        end = self._end(wait)
        conn = self._idle_connection() or await self._open(end)
        try:
            return await self._ask(conn, method, params or {}, end, progress)
        except ConnectError:
            if not conn.reused or conn.received:
                raise
        # The connection had been idle too long: the daemon was restarted in the meantime. The same params, so the same key.
        return await self._ask(await self._open(end), method, params or {}, end, progress)

    async def close(self) -> None:
        """Close every connection; calls and watches that are on end."""
        self._close()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._close()

    async def _open(self, end: Optional[float]) -> Connection:
        conn = self._use(Connection(self.socket))
        try:
            while not conn.dial():
                await asyncio.sleep(min(0.01, conn.left(end) or 0.01))
        except BaseException:
            self._drop(conn)
            raise
        return conn

    async def _ask(
        self, conn: Connection, method: str, params: Mapping[str, Any], end: Optional[float], progress: OnProgress
    ) -> dict[str, Any]:
        try:
            result = await self._exchange(conn, conn.request(method, params), end, progress)
        except RPCError:
            self._keep(conn)
            raise
        except BaseException:  # CancelledError too
            lost = self._drop(conn)
            if lost:
                with contextlib.suppress(RuntimedError):
                    await self.call("pool.release", {"env": lost})
            raise
        self._keep(conn)
        return result

    async def _exchange(self, conn: Connection, request: bytes, end: Optional[float], progress: OnProgress = None) -> dict[str, Any]:
        # A timer that hangs up, and no asyncio.wait_for: before Python 3.12 that one can swallow a cancellation.
        loop, left = asyncio.get_running_loop(), conn.left(end)
        timer = None if left is None else loop.call_later(left, conn.expire)
        try:
            with conn.low_level_errors():
                await loop.sock_sendall(conn.sock, request)
            while (result := conn.answer(progress)) is None:
                await self._receive(conn)
            return result
        finally:
            if timer:
                timer.cancel()

    async def _receive(self, conn: Connection) -> None:
        conn.own()
        with conn.low_level_errors():
            data = await asyncio.get_running_loop().sock_recv(conn.sock, CHUNK)
        conn.feed(data)
