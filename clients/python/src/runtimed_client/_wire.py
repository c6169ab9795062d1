"""What both clients share: the path rule, one connection without its waiting, and the keeping of connections."""

import collections
import contextlib
import itertools
import json
import math
import os
import secrets
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, Callable, Optional, Union

from ._errors import ConnectError, ProtocolError, RequestTimeout, RPCError
from ._values import Acquired, Env, Info, PoolStatus, Progress, decode

VERSION = "0.1.0"
CLIENT = {"name": "runtimed-client (Python)", "version": VERSION}
MAX_MESSAGE = 16 << 20  # bytes of one message from the daemon
MAX_IDLE = 8  # connections kept for the next call
DEFAULT_WAIT = 60.0  # seconds; the daemon's own where an acquire names none
CHUNK = 1 << 16

OnProgress = Optional[Callable[[Progress], None]]


def socket_path(platform: str, env: Mapping[str, str]) -> str:
    """Where the daemon listens: one pure function, the same in every client (testdata/wire/paths.jsonl). Empty is unset."""
    path, home, cache = env.get("RUNTIMED_SOCKET"), env.get("HOME", ""), env.get("XDG_CACHE_HOME", "")
    if path:
        return checked_path(platform, path, "RUNTIMED_SOCKET")
    if platform == "win32":
        raise ConnectError("the daemon does not run on Windows yet, so it has no socket there", kind="unreachable")
    if platform != "darwin" and cache.startswith("/"):
        state = cache.rstrip("/") + "/runt"
    elif home.startswith("/"):
        state = home.rstrip("/") + ("/Library/Caches/runt" if platform == "darwin" else "/.cache/runt")
    else:
        message = f"HOME is not an absolute path but {home!r}, so there is no place for the socket"
        raise ConnectError(message, kind="unreachable", hint="set HOME, or RUNTIMED_SOCKET")
    return checked_path(platform, state + "/runtimed.sock", "the socket's path")


def checked_path(platform: str, path: str, what: str) -> str:
    """A path that a socket can have. The kernel would only say "invalid argument"."""
    length, limit = len(os.fsencode(path)), 103 if platform == "darwin" else 107
    if not path.startswith("/"):
        raise ConnectError(f"{what} is {path!r}, which is not an absolute path", kind="unreachable", hint="correct RUNTIMED_SOCKET")
    if length > limit:
        message = f"{what} is {length} bytes long, and this system allows {limit}: {path}"
        raise ConnectError(message, kind="unreachable", hint="set RUNTIMED_SOCKET to a shorter one")
    return path


def acquire_params(
    pool: str, wait: Optional[float], owner_pid: Optional[int], label: Optional[str], key: Optional[str], progress: OnProgress
) -> dict[str, Any]:
    params = {
        "pool": pool,
        "wait_ms": None if wait is None else math.ceil(wait * 1000),
        "owner_pid": owner_pid,
        "label": label,
        "key": secrets.token_hex(16) if key is None else key,  # so that our own second try never holds two
        "progress": None if progress is None else True,
    }
    return {name: value for name, value in params.items() if value is not None}


def env_id(env: Union[str, Env]) -> str:
    return env if isinstance(env, str) else env.id


def acquired(result: Mapping[str, Any]) -> Acquired:
    env = result.get("env")
    rest = {name: result.get(name) for name in ("source", "stale", "waited_ms")}
    return decode(Acquired, {**env, **rest} if isinstance(env, dict) else None, "env")


def info(result: Mapping[str, Any], path: str) -> Info:
    if result.get("name") != "runtimed":
        raise foreign(path, f"it calls itself {result.get('name')!r}")
    return decode(Info, result, "info")


def foreign(path: str, what: str) -> ProtocolError:
    return ProtocolError(f"the program at {path} does not speak runtimed's protocol: {what}", hint="see which program listens there")


class Connection:
    """One connection, one call at a time: what to send, and what that which arrived means. The waiting is done by the clients."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.pid = os.getpid()
        self.reused = False  # it has answered before
        self.received = False  # anything, since the request
        self.expired = False  # hung up by a timer
        self.method = ""
        self._id = 0
        self._ids = itertools.count(1)
        self._buffer = bytearray()
        self._searched = 0  # no newline before here
        self._ended = False
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.setblocking(False)

    def dial(self) -> bool:
        """Connect; False while the daemon's queue is full."""
        try:
            self.sock.connect(self.path)
        except BlockingIOError:
            return False
        except OSError as exc:
            absent = isinstance(exc, (FileNotFoundError, ConnectionRefusedError))
            hint = "start it with: runt daemon start" if absent else "see whose socket it is, or set RUNTIMED_SOCKET"
            raise ConnectError(f"no daemon can be reached at {self.path}: {exc.strerror or exc}", kind="unreachable", hint=hint) from exc
        return True

    def request(self, method: str, params: Mapping[str, Any]) -> bytes:
        """The bytes of a new request."""
        self.method, self._id, self.received = method, next(self._ids), False
        message = {"jsonrpc": "2.0", "id": self._id, "method": method, "params": params}
        return json.dumps(message).encode() + b"\n"

    def feed(self, data: bytes) -> None:
        """Take what arrived; nothing (b"") is the end."""
        if data:
            self.received = True
            self._buffer += data
        elif self._ended or not self._buffer.strip():
            raise self.gone()
        else:  # a last line without a newline counts
            self._ended = True
            self._buffer += b"\n"

    def answer(self, progress: OnProgress = None) -> Optional[dict[str, Any]]:
        """The result of the request, or None if it has not come yet. Everything else that came is passed over."""
        for message in self._messages():
            id = message.get("id")
            if "method" in message:
                params = message.get("params")
                if progress and message["method"] == "$/progress" and isinstance(params, dict) and self._is_ours(params.get("id")):
                    progress(decode(Progress, params, "progress"))
            elif self._is_ours(id) or (id is None and message.get("error") is not None):
                return self._result(message)
        return None

    def change(self) -> Optional[PoolStatus]:
        """The next pool.changed of a watch, or None if there is none yet."""
        for message in self._messages():
            if message.get("method") == "pool.changed":
                params = message.get("params")
                return decode(PoolStatus, params.get("pool") if isinstance(params, dict) else None, "pool")
        return None

    def usable(self) -> bool:
        """Whether an idle connection may serve another call: ours (not a parent's before a fork), open, and silent."""
        if self.pid != os.getpid() or self._buffer or self._ended:
            return False
        try:
            self.sock.setblocking(False)
            self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def hang_up(self) -> None:
        """End it for both sides, even where a fork holds a copy. Whoever waits on it sees the end and closes it."""
        if self.pid == os.getpid():
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)

    def expire(self) -> None:
        self.expired = True
        self.hang_up()

    def close(self) -> None:
        self.hang_up()
        self.sock.close()

    def abandon(self) -> Optional[str]:
        """Close it in the middle of a call. Gives the id of an environment whose hand-out had already come: nobody knows of it."""
        try:
            if self.method != "pool.acquire" or self.pid != os.getpid():
                return None
            self.sock.setblocking(False)
            for last in (False, True):  # before and after, since on some systems hanging up drops what has come
                if last:
                    self.hang_up()
                with contextlib.suppress(BlockingIOError):
                    while True:
                        answer = self.answer()
                        if answer is not None:
                            return str(answer["env"]["id"])
                        self.feed(self.sock.recv(CHUNK))
        except (OSError, ConnectError, RequestTimeout, ProtocolError, RPCError, LookupError, TypeError):
            pass  # no answer, or one without an environment
        finally:
            self.close()
        return None

    def own(self) -> None:
        """Refuse to take a byte away from the process that we were forked from."""
        if self.pid != os.getpid():
            raise ConnectError(f"this connection to {self.path} belongs to process {self.pid}, of which this one is a fork")

    def left(self, end: Optional[float]) -> Optional[float]:
        """Seconds until `end`."""
        if end is None:
            return None
        left = end - time.monotonic()
        if left <= 0:
            raise self.late()
        return left

    @contextlib.contextmanager
    def low_level_errors(self) -> Iterator[None]:
        try:
            yield
        except socket.timeout as exc:
            raise self.late() from exc
        except OSError as exc:
            raise self.gone() from exc

    def late(self) -> RequestTimeout:
        return RequestTimeout(
            f"the daemon at {self.path} did not answer {self.method or 'the connection'} in time", hint="see: runt daemon logs"
        )

    def gone(self) -> Union[ConnectError, RequestTimeout]:
        if self.expired:
            return self.late()
        return ConnectError(f"the connection to {self.path} was closed before the answer to {self.method} came", hint="try again")

    def _is_ours(self, id: object) -> bool:
        return type(id) is int and id == self._id  # True == 1, and is another id

    def _messages(self) -> Iterator[dict[str, Any]]:
        """The whole lines that have come, each taken out before it is given. Split as bytes: no character is ever cut."""
        while True:
            end = self._buffer.find(b"\n", self._searched)
            self._searched = len(self._buffer)
            if (self._searched if end < 0 else end) > MAX_MESSAGE:
                raise foreign(self.path, f"a message of more than {MAX_MESSAGE} bytes")
            if end < 0:
                return
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self._searched = 0
            if not line.strip():
                continue
            try:
                message = json.loads(line.decode())
            except (ValueError, RecursionError) as exc:
                if self._ended:
                    raise self.gone() from exc
                raise foreign(self.path, f"not JSON: {line[:80]!r}") from exc
            if not isinstance(message, dict):
                raise foreign(self.path, f"not a message: {line[:80]!r}")
            yield message

    def _result(self, message: Mapping[str, Any]) -> dict[str, Any]:
        error, result = message.get("error"), message.get("result")
        if isinstance(error, dict) and type(error.get("code")) is int and isinstance(error.get("message"), str):
            raise RPCError(error["message"], code=error["code"], data=error.get("data"))
        if error is not None or not isinstance(result, dict):
            raise foreign(self.path, f"no answer to {self.method}: {str(message)[:80]}")
        return result


class Base:
    """What a client keeps. No lock: every step is one operation of a deque, a set or a dict, so that a fork never finds one held."""

    def __init__(self, socket: Union[str, "os.PathLike[str]", None] = None, *, timeout: Optional[float] = 3.0) -> None:
        """`socket` is where the daemon listens (default: as docs/protocol.md says), `timeout` the seconds that any answer may take."""
        self.socket = (
            socket_path(sys.platform, os.environ) if socket is None else checked_path(sys.platform, os.fspath(socket), "the socket path")
        )
        self.timeout = timeout
        self._closed = False
        self._idle: collections.deque[Connection] = collections.deque()
        self._busy: set[Connection] = set()
        self._held: dict[str, int] = {}  # environment -> process that is to release it

    def _close(self) -> None:
        self._closed = True
        while self._idle:
            with contextlib.suppress(IndexError):
                self._idle.pop().close()
        for conn in list(self._busy):
            conn.hang_up()

    def _end(self, wait: Optional[float] = 0.0) -> Optional[float]:
        return None if self.timeout is None else time.monotonic() + self.timeout + (DEFAULT_WAIT if wait is None else wait)

    def _hold(self, env: Env) -> None:
        self._held[env.id] = os.getpid()

    def _holds(self, env: Env) -> bool:
        """Whether the end of a with block is to release it: not in a fork's child, and not after a release or an adopt."""
        return self._held.get(env.id) == os.getpid()

    def _let_go(self, env: Union[str, Env]) -> None:
        self._held.pop(env_id(env), None)

    def _idle_connection(self) -> Optional[Connection]:
        while self._idle:
            with contextlib.suppress(IndexError):
                conn = self._idle.pop()
                if conn.usable():
                    conn.reused = True
                    return self._use(conn)
                conn.close()
        return None

    def _use(self, conn: Connection) -> Connection:
        self._busy.add(conn)
        if self._closed:
            self._drop(conn)
            raise ConnectError("this client is closed")
        return conn

    def _keep(self, conn: Connection) -> None:
        self._busy.discard(conn)
        if len(self._idle) >= MAX_IDLE:
            conn.close()
        else:
            self._idle.append(conn)
            if self._closed:  # in the meantime, by another thread
                self._close()

    def _drop(self, conn: Connection) -> Optional[str]:
        self._busy.discard(conn)
        return conn.abandon()
