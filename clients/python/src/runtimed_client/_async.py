"""The client, written once, for asyncio. The other one (_client.py) runs the same coroutines with a wait that blocks."""

import asyncio
import contextlib
import functools
import math
import os
import secrets
import sys
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Callable, Optional, Union

from ._errors import ConnectError, RequestTimeout, RPCError, RuntimedError
from ._pipe import Pipe
from ._start import start_daemon
from ._values import Acquired, Change, Env, Info, Progress, Status, decode
from ._wire import VERSION, Connection, check_protocol, checked_path, foreign, socket_path

CLIENT = {"name": "runtimed-client (Python)", "version": VERSION}
MAX_IDLE = 8  # connections kept for the next call
REPEATED = (
    "daemon.info",
    "daemon.ping",
    "pool.status",
    "pool.release",
    "env.adopt",
    "env.list",
    "rpc.discover",
)  # harmless to ask again
PAUSE = 0.2  # seconds; a daemon that ends has its last words to write
MAX_HASTY = 5  # times in a row that one may hang up at once
OnProgress = Optional[Callable[[Progress], None]]


class AsyncLease(Acquired):
    """An acquired environment. It is given back by release(), or at the end of an async with block."""

    _client: "AsyncClient"

    async def release(self) -> None:
        """Give it back; doing so twice is an RPCError of kind unknown_env."""
        await self._client.release(self)

    async def __aenter__(self) -> "AsyncLease":
        return self

    async def __aexit__(self, *exc: object) -> None:
        if (self.id, os.getpid()) in self._client._held:
            try:
                await self.release()
            except RuntimedError as error:
                if exc[0] is None and error.kind != "unknown_env":  # released by somebody else is released
                    raise


class AsyncClient:
    """Talks to the daemon. A call has a connection to itself while it lasts: an idle one, or a new one.

    Nothing here is locked, since each step on what threads share is one operation of a list or a set. So no fork finds a lock held.
    """

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
        given = None if socket is None else checked_path(sys.platform, os.fspath(socket), "the socket's path")
        self.socket = given or socket_path(sys.platform, os.environ)
        self.timeout = timeout
        self._may_start = autostart
        self._autostart = autostart  # until a daemon was met: if that one ends, it was ended
        self._start = functools.partial(start_daemon, socket=given, runt=None if runt is None else os.fspath(runt))
        self._closed = False
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
        self._held: set[tuple[str, int]] = (
            set()
        )  # environments that the end of a with block releases, and in which process

    async def info(self) -> Info:
        """Who the daemon is. One that speaks another version of the protocol is a ProtocolError."""
        await self._meet()
        return await self._info()

    async def _info(self) -> Info:
        result = await self._call("daemon.info", {"client": CLIENT})
        check_protocol(result)
        info = decode(Info, result, "info")
        if info.name != "runtimed":
            raise foreign(self.socket, f"it calls itself {info.name!r}")
        return info

    async def _meet(self) -> None:
        if not self._autostart:
            return
        try:
            await self._info()
        except ConnectError as nobody:
            if nobody.kind != "unreachable" or not self._starts():
                raise
            await self._start_daemon(nobody)
            await self._info()
        self._autostart = False

    def _starts(self) -> bool:
        return self._may_start and not os.environ.get("RUNTIMED_NO_START")

    async def _start_daemon(self, nobody: ConnectError) -> None:
        await asyncio.to_thread(self._start, nobody)

    async def status(self, pool: Optional[str] = None) -> Status:
        """All pools, or one."""
        return decode(Status, await self.call("pool.status", {} if pool is None else {"pool": pool}), "status")

    async def acquire(
        self,
        pool: str = "uv",
        *,
        wait: Optional[float] = None,
        owner_pid: Optional[int] = None,
        label: Optional[str] = None,
        key: Optional[str] = None,
        packages: Optional[Sequence[str]] = None,
        requirements: Optional[str] = None,
        script: Optional[str] = None,
        python: Optional[str] = None,
        session: Optional[str] = None,
        linger: Optional[float] = None,
        progress: OnProgress = None,
    ) -> AsyncLease:
        """Lease an environment, waiting up to `wait` seconds for it (0: answer at once; None: the daemon's default of 60).

        The lease belongs to this process, or to `owner_pid`, and ends with it. `label` is shown in `runt env list`. Asking again
        with the same `key` never holds a second environment; by default each call has its own. While a build is waited for,
        `progress` is called with a Progress now and then.

        What it shall have beyond what its pool gives, of the kind uv: `packages` ("pandas", "rich>=13"), `requirements` (the text of
        a requirements file), what `script` asks for (the text of one with a PEP 723 block), all of them together, and `python`
        ("3.12", ">=3.11,<3.14", or an absolute path).

        Who acquires with the same `session` after the owner has ended gets the same environment, as it was left; it stays for
        `linger` seconds for that (up to 3600; None: the daemon's default of 60).
        """
        params = {
            "pool": pool,
            "wait_ms": None if wait is None else math.ceil(wait * 1000),
            "owner_pid": owner_pid,
            "label": label,
            "key": secrets.token_hex(16) if key is None else key,
            "packages": packages,
            "requirements": requirements,
            "script": script,
            "python": python,
            "session": session,
            "linger_ms": None if linger is None else math.ceil(linger * 1000),
            "progress": None if progress is None else True,
        }
        given = {name: value for name, value in params.items() if value is not None}
        try:
            result = await self.call("pool.acquire", given, wait=60.0 if wait is None else wait, progress=progress)
        except RPCError as error:
            # All that is sent here a daemon of this client's age knows; these are the words of every older one.
            if error.kind == "invalid_params" and error.message == f"unknown member {error.data.get('param')}":
                error.hint = "the daemon is older than this client; bring the new one in with: runt daemon restart"
            raise
        env = result.get("env")
        told = {name: result[name] for name in ("source", "stale", "waited_ms", "added", "added_ms") if name in result}
        lease = decode(AsyncLease, {**env, **told} if isinstance(env, dict) else None, "env")
        lease._client = self
        self._held.add((lease.id, os.getpid()))
        return lease

    async def release(self, env: Union[str, Env]) -> None:
        """Give an environment back (an Env or its id)."""
        await self._end_lease(env, "pool.release", {})

    async def adopt(self, env: Union[str, Env], pid: int) -> Env:
        """Hand the lease to another process: from now on it ends with that one, and no with block of ours ends it."""
        return decode(Env, (await self._end_lease(env, "env.adopt", {"owner_pid": pid})).get("env"), "env")

    async def _end_lease(self, env: Union[str, Env], method: str, params: dict[str, Any]) -> dict[str, Any]:
        id = env if isinstance(env, str) else env.id
        result = await self.call(method, {"env": id, **params})
        self._held.discard((id, os.getpid()))
        return result

    async def watch(self) -> AsyncGenerator[Status, None]:
        """The status, and again after every change, until the client is closed. It has a connection of its own."""
        await self._meet()
        conn = Connection(self.socket)
        try:
            result = await self._ask(conn, "pool.watch", {}, self._end())
            pools = {pool.name: pool for pool in decode(Status, result, "status").pools}
            while True:
                yield Status(tuple(pools.values()))
                while (message := await self._message(conn, math.inf)).get("method") != "pool.changed":
                    pass
                change = decode(Change, message.get("params"), "params")
                pools[change.pool.name] = change.pool
                if change.gone:
                    del pools[change.pool.name]
        except ConnectError:
            if not self._closed:
                raise
        finally:
            self._busy.discard(conn)
            conn.close()

    async def call(
        self, method: str, params: Optional[Mapping[str, Any]] = None, *, wait: float = 0.0, progress: OnProgress = None
    ) -> dict[str, Any]:
        """Any method, by its name on the wire; the result as it came. `wait` is on top of the client's timeout."""
        await self._meet()
        return await self._call(method, params, wait=wait, progress=progress)

    async def _call(
        self, method: str, params: Optional[Mapping[str, Any]] = None, *, wait: float = 0.0, progress: OnProgress = None
    ) -> dict[str, Any]:
        """Ask; where the daemon is replaced meanwhile, ask the next one, with the same key. docs/protocol.md has the rule."""
        params, begun, end = params or {}, time.monotonic(), self._end(wait)
        last = begun + wait + (3.0 if self.timeout is None else self.timeout)
        asked, lost, hasty = params, "", 0
        while True:
            since = time.monotonic()
            try:
                return await self._call_once(method, asked, end, progress)
            except (ConnectError, RPCError) as error:
                now, kind = time.monotonic(), error.kind
                if method == "pool.release" and lost == "closed" and kind == "unknown_env":
                    return {}  # done before the answer was lost
                hasty = hasty + 1 if kind == "closed" and now - since < 1.0 else 0
                follows = kind in ("closed", "shutting_down") or (
                    kind == "unreachable" and lost and not self._autostart
                )
                again = method in REPEATED or (method == "pool.acquire" and "key" in params)
                if not (follows and again) or self._closed or hasty > MAX_HASTY or now + PAUSE > last:
                    raise
                if (
                    isinstance(error, ConnectError)
                    and kind == "unreachable"
                    and method == "pool.acquire"
                    and self._starts()
                ):
                    await self._start_daemon(error)
                lost = kind if kind == "closed" or not lost else lost
            await self._pause(PAUSE)
            if method == "pool.acquire":
                asked = {
                    **params,
                    "wait_ms": max(0, params.get("wait_ms", 60_000) - int((time.monotonic() - begun) * 1000)),
                }

    async def _call_once(
        self, method: str, params: Mapping[str, Any], end: float, progress: OnProgress
    ) -> dict[str, Any]:
        conn = self._idle_connection() or Connection(self.socket)
        try:
            return await self._ask(conn, method, params, end, progress)
        finally:
            if lost := self._put_back(conn):
                with contextlib.suppress(RuntimedError):
                    await self.release(lost)

    async def close(self) -> None:
        """Close every connection; calls and watches that are on end."""
        self._closed = True
        while conn := self._idle_connection():
            conn.close()
        for conn in list(self._busy):
            conn.hang_up()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def _idle_connection(self) -> Optional[Connection]:
        with contextlib.suppress(IndexError):
            while conn := self._idle.pop():
                if conn.usable():
                    return conn
                conn.close()
        return None

    def _put_back(self, conn: Connection) -> Optional[str]:
        self._busy.discard(conn)
        if not conn.answered or len(self._idle) >= MAX_IDLE:
            return conn.close()
        self._idle.append(conn)
        while self._closed and (idle := self._idle_connection()):  # by another thread, just now
            idle.close()
        return None

    def _end(self, wait: float = 0.0) -> float:
        return math.inf if self.timeout is None else time.monotonic() + self.timeout + wait

    async def _ask(
        self, conn: Connection, method: str, params: Mapping[str, Any], end: float, progress: OnProgress = None
    ) -> dict[str, Any]:
        self._busy.add(conn)
        if self._closed:
            raise ConnectError("this client is closed")
        await self._done(conn, end, conn.connect)
        conn.request(method, params)
        await self._done(conn, end, conn.send)
        while (result := conn.result(message := await self._message(conn, end))) is None:
            told = message.get("params")
            if (
                progress
                and message.get("method") == "$/progress"
                and isinstance(told, dict)
                and conn.is_ours(told.get("id"))
            ):
                progress(decode(Progress, told, "progress"))
        return result

    async def _message(self, conn: Connection, end: float) -> dict[str, Any]:
        while (message := conn.message()) is None:
            await self._done(conn, end, conn.receive)
        return message

    async def _done(self, conn: Connection, end: float, step: Callable[[], None]) -> None:
        """Do a step of a connection, in time."""
        while True:
            if conn.pid != os.getpid():
                raise ConnectError(
                    f"this connection to {self.socket} belongs to process {conn.pid}, of which this one is a fork"
                )
            if (left := end - time.monotonic()) <= 0:
                message = f"the daemon at {self.socket} did not answer {conn.method or 'the connection'} in time"
                raise RequestTimeout(message, hint="see: runt daemon logs")
            try:
                return step()
            except (
                BlockingIOError
            ):  # only what is to be read tells when it is there; room in the daemon's queue and a pipe do not
                if step == conn.receive and not isinstance(conn.sock, Pipe):
                    await self._wait(conn, min(left, 3600.0))
                else:
                    await self._pause(min(left, getattr(conn.sock, "pause", 0.01)))
            except OSError as exc:
                raise conn.gone(exc) from exc

    async def _wait(self, conn: Connection, seconds: float) -> None:
        """Until there is something to read, or so long. It is not read here, so that a cancellation loses nothing."""
        loop, woken = asyncio.get_running_loop(), asyncio.Event()
        timer = loop.call_later(seconds, woken.set)
        loop.add_reader(conn.sock, woken.set)
        try:
            await woken.wait()
        finally:
            timer.cancel()
            loop.remove_reader(conn.sock)

    async def _pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
