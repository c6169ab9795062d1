"""Where the daemon listens, and one connection to it without the waiting: each step is done at once, or raises BlockingIOError."""

import contextlib
import json
import os
import socket
import struct
import sys
from collections.abc import Mapping
from typing import Any, Optional

from ._errors import ConnectError, ProtocolError, RPCError, RuntimedError
from ._pipe import Pipe, is_pipe, pipe_of

VERSION = "0.1.0"
PROTOCOL = 1  # the number of the contract that this client knows
MAX_MESSAGE = 16 << 20  # bytes of one message from the daemon
CHUNK = 1 << 18


def socket_path(platform: str, env: Mapping[str, str]) -> str:
    """The rule of docs/protocol.md: one pure function, the same in every client (testdata/wire/paths.jsonl). Empty is unset."""
    if env.get("RUNTIMED_SOCKET"):
        name, rest = "RUNTIMED_SOCKET", ""
    elif platform == "win32":
        if not env.get("USERNAME"):
            raise ConnectError("USERNAME is not set, so the pipe has no name", kind="unreachable")
        return pipe_of(env["USERNAME"])
    elif platform == "darwin":
        name, rest = "HOME", "/Library/Caches/runt/runtimed.sock"
    elif env.get("XDG_CACHE_HOME", "").startswith("/"):
        name, rest = "XDG_CACHE_HOME", "/runt/runtimed.sock"
    else:
        name, rest = "HOME", "/.cache/runt/runtimed.sock"
    base = env.get(name, "")
    path = base.rstrip("/") + rest if rest and base.startswith("/") else base
    return checked_path(platform, path, name)


def checked_path(platform: str, path: str, what: str) -> str:
    """A path that a socket can have. The kernel would only say "invalid argument"."""
    length, limit = len(os.fsencode(path)), 103 if platform == "darwin" else 107
    if platform == "win32":
        if is_pipe(path):
            return path
        problem = f"{what} is {path!r}, which is not the name of a pipe (\\\\.\\pipe\\…)"
    elif not path.startswith("/"):
        problem = f"{what} is {path!r}, which is not an absolute path"
    elif not is_text(path):
        problem = f"{what} is {os.fsencode(path)!r}, which is not UTF-8"
    elif length > limit:
        problem = f"the socket's path is {length} bytes long, and this system allows {limit}: {path}"
    else:
        return path
    raise ConnectError(problem, kind="unreachable", hint="set RUNTIMED_SOCKET to another path")


def is_text(path: str) -> bool:
    """Whether it is UTF-8: Python has lone surrogates in place of other bytes, and no message can hold those."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def foreign(path: str, what: str) -> ProtocolError:
    return ProtocolError(
        f"the program at {path} does not speak runtimed's protocol: {what}", hint="see which program listens there"
    )


def check_protocol(info: Mapping[str, Any]) -> None:
    """Its number decides whether daemon and client understand each other, whatever their versions are."""
    protocol = info.get("protocol")
    if info.get("name") != "runtimed" or type(protocol) is not int or protocol == PROTOCOL:
        return
    older, hint = (
        ("daemon", "restart it with: runt daemon restart")
        if protocol < PROTOCOL
        else ("client", "update runtimed-client")
    )
    raise ProtocolError(
        f"the daemon (version {info.get('version')}) speaks protocol {protocol}, "
        f"and this client (version {VERSION}) protocol {PROTOCOL}: the {older} is too old",
        hint=hint,
    )


def stranger(sock: socket.socket) -> Optional[str]:
    """Who listens there, if that is neither our own user nor root. Anybody may have made the path before our daemon could."""
    if sys.platform == "linux":
        uid = struct.unpack("iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
    else:
        uid = struct.unpack_from("II", sock.getsockopt(0, 1, 76))[1]  # SOL_LOCAL, LOCAL_PEERCRED: a struct xucred
    if uid == 0 or (uid == os.geteuid() and is_mapped(uid)):
        return None
    return f"{'a user outside this user namespace' if uid == os.geteuid() else 'another user'} (uid {uid})"


def is_mapped(uid: int) -> bool:
    """False in a user namespace that does not know this one: all whom it does not know show as one."""
    try:
        with open("/proc/self/uid_map") as ranges:
            return any(int(first) <= uid < int(first) + int(count) for first, _, count in map(str.split, ranges))
    except OSError:  # another system, or one without /proc
        return True


class Connection:
    """One call at a time, and only for the process that made it: a fork's child must not take a byte away from its parent."""

    def __init__(self, path: str) -> None:
        self.path, self.pid = path, os.getpid()
        self.method, self.answered, self._id = "", False, 0
        self._connected, self._ended = False, False
        self._unsent, self._received = b"", bytearray()
        self.sock: Any  # a socket that does not block, or a Pipe, which looks like one
        if is_pipe(path):
            self.sock = Pipe()
        else:
            try:
                self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            except OSError as exc:  # this process has too many files open
                raise ConnectError(f"no socket can be made to reach {path}: {exc.strerror or exc}") from exc
            self.sock.setblocking(False)

    def connect(self) -> None:
        """Where this blocks, the daemon's queue is full, and nothing tells when it no longer is."""
        if not self._connected:
            self.sock.connect(self.path)
            self._connected = True
            if owner := self.sock.stranger() if isinstance(self.sock, Pipe) else stranger(self.sock):
                raise ConnectError(
                    f"{self.path} belongs to {owner}: only a daemon of your own user or of root is trusted",
                    kind="untrusted",
                    hint="set RUNTIMED_SOCKET to a path in a folder of your own, or run as the user whose daemon it is",
                )

    def request(self, method: str, params: Mapping[str, Any]) -> None:
        """Begin a call; send() does the rest."""
        self.method, self.answered, self._id = method, False, self._id + 1
        self._unsent = (
            json.dumps({"jsonrpc": "2.0", "id": self._id, "method": method, "params": params}).encode() + b"\n"
        )

    def send(self) -> None:
        while self._unsent:
            self._unsent = self._unsent[self.sock.send(self._unsent) :]

    def receive(self) -> None:
        self.feed(self.sock.recv(CHUNK))

    def feed(self, data: bytes) -> None:
        """Take what arrived; nothing (b"") is the end, and that of a last line too."""
        if not data and (self._ended or not self._received.strip()):
            raise self.gone()
        self._ended = not data
        self._received += data or b"\n"

    def message(self) -> Optional[dict[str, Any]]:
        """The next message, if all of it has come. Lines are split as bytes, so no character is ever cut."""
        while (end := self._received.find(b"\n")) >= 0:
            line = bytes(self._received[:end])
            del self._received[: end + 1]
            if not line.strip():
                continue
            try:
                message = json.loads(line.decode())
            except (ValueError, RecursionError) as exc:
                raise self.gone() if self._ended else foreign(self.path, f"{line[:80]!r} is not JSON") from exc
            if not isinstance(message, dict):
                raise foreign(self.path, f"{line[:80]!r} is not a message")
            return message
        if len(self._received) > MAX_MESSAGE:
            raise foreign(self.path, f"a message is longer than {MAX_MESSAGE} bytes")
        return None

    def is_ours(self, id: object) -> bool:
        return type(id) is int and id == self._id  # True == 1, and is another id

    def result(self, message: Mapping[str, Any]) -> Optional[dict[str, Any]]:
        """The call's result, or None if this message is something else than its answer."""
        id, error, result = message.get("id"), message.get("error"), message.get("result")
        if "method" in message or not (self.is_ours(id) or (id is None and error is not None)):
            return None
        self.answered = True
        if isinstance(error, dict) and type(error.get("code")) is int and isinstance(error.get("message"), str):
            raise RPCError(error["message"], code=error["code"], data=error.get("data"))
        if error is not None or not isinstance(result, dict):
            raise foreign(self.path, f"{str(message)[:80]} is no answer to {self.method}")
        return result

    def usable(self) -> bool:
        """Whether it may serve another call: it is ours, open, and silent, and no answer is to come."""
        try:
            self.sock.recv(1, socket.MSG_PEEK)
            return False
        except OSError as exc:
            return isinstance(exc, BlockingIOError) and self.answered and self.pid == os.getpid() and not self._received

    def hang_up(self) -> None:
        """End it for both sides, even where a fork holds a copy. Whoever waits on it sees the end and closes it."""
        if self.pid == os.getpid():
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> Optional[str]:
        """Gives the id of an environment whose hand-out had come, but not yet to the caller: nobody else knows of it."""
        try:
            if self.method != "pool.acquire" or self.answered or self.pid != os.getpid():
                return None
            handed_out = self._handed_out()  # asked twice, since on some systems hanging up drops what has come
            self.hang_up()
            return handed_out or self._handed_out()
        finally:
            self.hang_up()
            self.sock.close()

    def _handed_out(self) -> Optional[str]:
        with contextlib.suppress(OSError, RuntimedError, LookupError, TypeError):
            while True:
                while message := self.message():
                    if result := self.result(message):
                        return str(result["env"]["id"])
                self.receive()
        return None

    def gone(self, exc: Optional[OSError] = None) -> ConnectError:
        if self._connected or not exc:
            return ConnectError(
                f"the connection to {self.path} was closed before the answer to {self.method} came", hint="try again"
            )
        absent = isinstance(exc, (FileNotFoundError, ConnectionRefusedError))
        hint = "start it with: runt daemon start" if absent else "see whose socket it is, or set RUNTIMED_SOCKET"
        return ConnectError(
            f"no daemon can be reached at {self.path}: {exc.strerror or exc}", kind="unreachable", hint=hint
        )
