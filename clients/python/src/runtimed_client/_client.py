"""The calls, written once: coroutines that wait only in _wait and _start, which _aio.py has for each face."""

import contextlib
import math
import os
import secrets
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping, Sequence
from typing import Callable, Generic, Optional, TypeVar, Union

from ._errors import ConnectError, RequestTimeout, RPCError, RuntimedError
from ._start import Place, Starter, explain_old
from ._values import Acquired, Change, Env, Info, Object, OnProgress, Progress, Status, check_protocol, decode, encode
from ._wire import ID, Connection, __version__, checked_path, socket_path

# What does no harm twice.
REPEATABLE = ("daemon.info", "daemon.ping", "pool.status", "pool.release", "env.adopt", "env.list", "rpc.discover")
PAUSE = 0.2  # seconds before a call is made again

L = TypeVar("L", bound=Acquired)


class Core(Generic[L]):
    """Talks to the daemon. Each call has a connection of its own, so that threads and tasks may share a client.

    No lock is held, because each step on what threads share is one operation of a set. A fork is safe at any time.
    """

    _lease: type[L]
    _wait: Callable[..., Awaitable[None]]  # so many seconds, or until a socket has something to read, which stays there
    _start: Callable[[RuntimedError], Awaitable[None]]

    def __init__(
        self, socket: Place = None, *, timeout: Optional[float] = 3.0, autostart: bool = False, runt: Place = None
    ) -> None:
        """`socket` is where the daemon listens, by default as docs/protocol.md says. `timeout` is in seconds.

        With `autostart`, the first call starts a daemon if none can be reached, and so does an acquire whose daemon
        ends while it waits. `runt` is the program that starts it, by default the one beside this Python, else on PATH,
        else in ~/.local/bin. The variable RUNTIMED_NO_START forbids it.
        """
        given = None if socket is None else checked_path(sys.platform, os.fspath(socket), "the socket's path")
        self.socket = given or socket_path(sys.platform, os.environ)
        self.timeout, self._closed = timeout, False
        self._starter = Starter(autostart, given, runt)
        self._busy: set[Connection] = set()
        self._held: set[tuple[str, int]] = set()  # the environments that a with block releases, and its process

    async def info(self) -> Info:
        """Who the daemon is. One that speaks another version of the protocol is a ProtocolError."""
        client = {"name": "runtimed-client (Python)", "version": __version__}
        result = await self.call("daemon.info", {"client": client})
        check_protocol(self.socket, result, __version__)
        return decode(Info, result, "info")

    async def status(self, pool: Optional[str] = None) -> Status:
        """All pools, or one."""
        return decode(Status, await self.call("pool.status", {} if pool is None else {"pool": pool}), "status")

    async def acquire(
        self, pool: Optional[str] = None, *, wait: Optional[float] = None, progress: OnProgress = None,
        standby: bool = False, owner_pid: Optional[int] = None, label: Optional[str] = None, key: Optional[str] = None,
        packages: Optional[Sequence[str]] = None, requirements: Optional[str] = None, script: Optional[str] = None,
        python: Optional[str] = None, session: Optional[str] = None, linger: Optional[float] = None,
        project: Union[Place, Mapping[str, object]] = None,
    ) -> L:  # fmt: skip
        """Lease an environment of `pool`: by default of "uv", or of "conda" for a project of that kind.

        It waits up to `wait` seconds (0: answer at once; None: the daemon's default of 60).
        The lease belongs to this process, or to `owner_pid`, and ends with it. `label` is shown in `runt env list`.
        Asking again with the same `key` never holds a second environment; by default each call has its own. While a
        build is waited for, `progress` is called with a Progress now and then.

        These ask for more than the pool has, in pools of the kind uv: `packages` ("pandas", "rich>=13"),
        `requirements` (the text of a requirements file), `script` (the text of one with a PEP 723 block), and `python`
        ("3.12", ">=3.11,<3.14", or an absolute path). They count together.

        With `project`, it is made from what a project says it needs: the path of a folder in it, or of a file of it, or
        a dict of `path`, `extras`, `groups` and `frozen` (the lock file may be older than its manifest). The lease's
        `project` tells what was found. No project there or above is an RPCError of kind no_project.

        Whoever acquires with the same `session` after the owner has ended gets the same environment, as it was left.
        It stays for `linger` seconds for that (up to 3600; None: the daemon's default of 60).

        With `standby`, the lease's `standby` is the kernel that stands by in the environment, or None. It waits 10 s
        for the order that docs/protocol.md describes.
        """
        call = {"pool": pool, "wait_ms": wait, "key": key or secrets.token_hex(16), "progress": progress and True}
        lease = {"owner_pid": owner_pid, "label": label, "session": session, "linger_ms": linger}
        needs = {"packages": packages, "requirements": requirements, "script": script, "python": python}
        params = encode({**call, **lease, **needs, "standby": standby or None, "project": project})
        while True:
            try:
                result = await self.call("pool.acquire", params, wait=60.0 if wait is None else wait, progress=progress)
                break
            except RPCError as error:
                explain_old(error)
                if not (error.data.get("param") == "standby" and params.pop("standby", None)):
                    raise
        env = decode(self._lease, {**result, **result["env"]} if isinstance(result.get("env"), dict) else None, "env")
        vars(env)["_client"] = self
        self._held.add((env.id, os.getpid()))
        return env

    async def release(self, env: Union[str, Env]) -> None:
        """Give an environment back (an Env or its id)."""
        await self.call("pool.release", {"env": getattr(env, "id", env)})

    async def adopt(self, env: Union[str, Env], pid: int) -> Env:
        """Hand the lease to another process. It then ends with that process, and not with a with block of ours."""
        result = await self.call("env.adopt", {"env": getattr(env, "id", env), "owner_pid": pid})
        return decode(Env, result.get("env"), "env")

    async def _leave(self, env: Env, failed: bool) -> None:
        """The end of a with block."""
        try:
            if (env.id, os.getpid()) in self._held:
                await self.release(env)
        except RuntimedError as error:
            if not failed and error.kind != "unknown_env":  # somebody else may have released it
                raise

    async def watch(self) -> AsyncGenerator[Status, None]:
        """The status, and again after every change, until the client is closed. It has a connection of its own."""
        await self._starter.ensure_daemon(self)
        try:
            async with self._ask("pool.watch", {}, self._end()) as conn:
                pools = {pool.name: pool for pool in decode(Status, conn.answer, "status").pools}
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

    async def close(self) -> None:
        """Close every connection. Calls and watches that are on end."""
        self._closed = True
        for conn in list(self._busy):
            conn.hang_up()

    async def call(
        self, method: str, params: Optional[Object] = None, *, wait: float = 0.0, progress: OnProgress = None
    ) -> Object:
        """Any method, by its name on the wire; the result as it came. `wait` seconds come on top of the timeout.

        If the daemon is replaced meanwhile, the next one is asked, by the rule of docs/protocol.md.
        """
        await self._starter.ensure_daemon(self)
        params, began, end, kinds, hangups = params or {}, time.monotonic(), self._end(wait), set[str](), 0
        acquires, wait_ms = method == "pool.acquire", params.get("wait_ms", 60_000)
        repeatable = method in REPEATABLE or (acquires and "key" in params)
        last = (end if end < math.inf else began + wait + 3.0) - PAUSE
        while True:
            since = time.monotonic()
            if acquires and kinds:
                params = {**params, "wait_ms": max(0, wait_ms - int((since - began) * 1000))}
            try:
                async with self._ask(method, params, end, progress) as conn:
                    self._held.discard((params.get("env", ""), os.getpid()))  # by pool.release or env.adopt
                    return conn.answer
            except (ConnectError, RPCError) as error:
                now, kind = time.monotonic(), error.kind
                if method == "pool.release" and "closed" in kinds and kind == "unknown_env":
                    return {}  # it was released before the answer was lost
                hangups = hangups + 1 if kind == "closed" and now - since < 1.0 else 0
                follows = kind in ("closed", "shutting_down") or (kind == "unreachable" and kinds)
                if not (follows and repeatable) or self._closed or hangups > 5 or now > last:
                    raise
                if acquires and kind == "unreachable" and self._starter.allowed():
                    await self._start(error)
                kinds.add(kind)
            await self._wait(PAUSE)

    @contextlib.asynccontextmanager
    async def _ask(self, method: str, params: Object, end: float, tell: OnProgress = None) -> AsyncIterator[Connection]:
        """A connection on which a call was answered."""
        conn = Connection(self.socket, method, params)
        self._busy.add(conn)
        try:
            if self._closed:
                raise ConnectError("this client is closed")
            while not conn.answers(message := await self._message(conn, end)):
                news = message.get("params")
                if tell and message.get("method") == "$/progress" and isinstance(news, dict) and news.get("id") == ID:
                    tell(decode(Progress, news, "progress"))
            yield conn
        except BaseException:
            if method == "pool.acquire" and (unclaimed := conn.unclaimed()):
                with contextlib.suppress(RuntimedError):
                    await self.release(unclaimed)
            raise
        finally:
            self._busy.discard(conn)
            conn.hang_up()
            conn.sock.close()

    async def _message(self, conn: Connection, end: float) -> Object:
        """The next message, in time."""
        while True:
            if (left := end - time.monotonic()) <= 0:
                message = f"the daemon at {self.socket} did not answer {conn.method} in time"
                raise RequestTimeout(message, hint="see: runt daemon logs")
            try:
                return conn.message()
            except BlockingIOError:
                # Nothing tells when the daemon's queue has room, or when a pipe can be read.
                pause = 0.01 if conn.unsent else getattr(conn.sock, "pause", None)
                await self._wait(min(left, pause or 3600.0), None if pause else conn.sock)

    def _end(self, wait: float = 0.0) -> float:
        return math.inf if self.timeout is None else time.monotonic() + self.timeout + wait
