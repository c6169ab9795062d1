"""The client for threads and plain scripts."""

import contextlib
import time
from collections.abc import Generator, Mapping
from dataclasses import fields
from types import TracebackType
from typing import Any, Optional, Union

from ._errors import ConnectError, RPCError, RuntimedError
from ._values import Acquired, Env, Info, Status, decode
from ._wire import CHUNK, CLIENT, Base, Connection, OnProgress, acquire_params, acquired, env_id, info


class Lease(Acquired):
    """An acquired environment. It is given back by release(), or at the end of a with block."""

    def __init__(self, client: "Client", env: Acquired) -> None:
        super().__init__(**vars(env))
        self._client = client

    def __reduce__(self) -> tuple[object, ...]:  # pickled or copied it is a value only: the lease stays here
        return Acquired, tuple(vars(self)[member.name] for member in fields(Acquired))

    def release(self) -> None:
        """Give it back; doing so twice is an RPCError of kind unknown_env."""
        self._client.release(self)

    def __enter__(self) -> "Lease":
        return self

    def __exit__(self, kind: Optional[type[BaseException]], exc: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        if self._client._holds(self):
            try:
                self.release()
            except RuntimedError as error:
                if exc is None and error.kind != "unknown_env":  # released by somebody else is released
                    raise


class Client(Base):
    """Talks to the daemon. Threads may share it: a call takes an idle connection or opens one."""

    def info(self) -> Info:
        """Who the daemon is."""
        return info(self.call("daemon.info", {"client": CLIENT}), self.socket)

    def status(self, pool: Optional[str] = None) -> Status:
        """All pools, or one."""
        return decode(Status, self.call("pool.status", {} if pool is None else {"pool": pool}), "status")

    def acquire(
        self,
        pool: str = "uv",
        *,
        wait: Optional[float] = None,
        owner_pid: Optional[int] = None,
        label: Optional[str] = None,
        key: Optional[str] = None,
        progress: OnProgress = None,
    ) -> Lease:
        """Lease an environment, waiting up to `wait` seconds for it (0: answer at once; None: the daemon's default of 60).

        The lease belongs to this process, or to `owner_pid`, and ends with it. `label` is shown in `runt env list`. Asking again
        with the same `key` never holds a second environment; by default each call has its own. While a build is waited for,
        `progress` is called with a Progress now and then.
        """
        params = acquire_params(pool, wait, owner_pid, label, key, progress)
        lease = Lease(self, acquired(self.call("pool.acquire", params, wait=wait, progress=progress)))
        self._hold(lease)
        return lease

    def release(self, env: Union[str, Env]) -> None:
        """Give an environment back (an Env or its id)."""
        self.call("pool.release", {"env": env_id(env)})
        self._let_go(env)

    def adopt(self, env: Union[str, Env], pid: int) -> Env:
        """Hand the lease to another process: from now on it ends with that one, and no with block of ours ends it."""
        result = self.call("env.adopt", {"env": env_id(env), "owner_pid": pid})
        self._let_go(env)
        return decode(Env, result.get("env"), "env")

    def watch(self) -> Generator[Status, None, None]:
        """The status, and again after every change, until the client is closed. It has a connection of its own."""
        conn = self._open(end := self._end())
        try:
            status = decode(Status, self._exchange(conn, conn.request("pool.watch", {}), end), "status")
            while True:
                yield status
                while (pool := conn.change()) is None:
                    self._receive(conn, None)
                status = status.updated(pool)
        except ConnectError:
            if not self._closed:
                raise
        finally:
            self._drop(conn)

    def call(
        self, method: str, params: Optional[Mapping[str, Any]] = None, *, wait: Optional[float] = 0.0, progress: OnProgress = None
    ) -> dict[str, Any]:
        """Any method, by its name on the wire; the result as it came. `wait` is on top of the client's timeout."""
        end = self._end(wait)
        conn = self._idle_connection() or self._open(end)
        try:
            return self._ask(conn, method, params or {}, end, progress)
        except ConnectError:
            if not conn.reused or conn.received:
                raise
        # The connection had been idle too long: the daemon was restarted in the meantime. The same params, so the same key.
        return self._ask(self._open(end), method, params or {}, end, progress)

    def close(self) -> None:
        """Close every connection; calls and watches that are on end."""
        self._close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _open(self, end: Optional[float]) -> Connection:
        conn = self._use(Connection(self.socket))
        try:
            while not conn.dial():
                time.sleep(min(0.01, conn.left(end) or 0.01))
        except BaseException:
            self._drop(conn)
            raise
        return conn

    def _ask(self, conn: Connection, method: str, params: Mapping[str, Any], end: Optional[float], progress: OnProgress) -> dict[str, Any]:
        try:
            result = self._exchange(conn, conn.request(method, params), end, progress)
        except RPCError:
            self._keep(conn)
            raise
        except BaseException:  # KeyboardInterrupt too
            lost = self._drop(conn)
            if lost:
                with contextlib.suppress(RuntimedError):
                    self.call("pool.release", {"env": lost})
            raise
        self._keep(conn)
        return result

    def _exchange(self, conn: Connection, request: bytes, end: Optional[float], progress: OnProgress = None) -> dict[str, Any]:
        with conn.low_level_errors():
            conn.sock.settimeout(conn.left(end))
            conn.sock.sendall(request)
        while (result := conn.answer(progress)) is None:
            self._receive(conn, end)
        return result

    def _receive(self, conn: Connection, end: Optional[float]) -> None:
        conn.own()
        with conn.low_level_errors():
            conn.sock.settimeout(conn.left(end))
            data = conn.sock.recv(CHUNK)
        conn.feed(data)
