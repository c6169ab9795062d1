"""Where the daemon listens, and one call on a connection, without the waiting."""

import contextlib
import json
import os
import socket
import sys
from collections.abc import Callable, Mapping
from typing import Any, Optional

from ._errors import ConnectError, RPCError, RuntimedError
from ._pipe import Pipe, checked_pipe, is_pipe, user_pipe
from ._start import absolute, user_home, usual_socket
from ._values import Object, wrong_program

__version__ = "0.1.0"
MAX_MESSAGE = 16 << 20  # bytes of one message from the daemon
ID = 7  # of the only request on a connection; True == 1, but it is another id


def socket_path(platform: str, env: Mapping[str, str], home: Callable[[], str] = user_home, mounts: str = "") -> str:
    """The rule of docs/protocol.md, the same in every client (testdata/wire/paths.jsonl). Empty is unset."""
    given, cache = env.get("RUNTIMED_SOCKET"), "" if platform == "darwin" else env.get("XDG_CACHE_HOME", "")
    if platform == "win32" and not given:
        return user_pipe(env)
    usual = "HOME", "/Library/Caches" if platform == "darwin" else "/.cache"
    name, rest = ("XDG_CACHE_HOME", "") if cache.startswith("/") else usual
    base = given or env.get(name) or absolute(home())
    path = base if given or base[:1] != "/" else usual_socket(platform, f"{base.rstrip('/')}{rest}/runt", mounts)
    return checked_path(platform, path, "RUNTIMED_SOCKET" if given else name)


def checked_path(platform: str, path: str, what: str) -> str:
    """A path that a socket can have. The kernel would only say "invalid argument"."""
    if platform == "win32":
        return checked_pipe(path, what)
    length, limit = len(os.fsencode(path)), 103 if platform == "darwin" else 107
    if not path.startswith("/"):
        problem = f"{what} is {path!r}, which is not an absolute path"
    elif any("\ud800" <= char <= "\udfff" for char in path):  # how Python keeps bytes that are not UTF-8
        problem = f"{what} is {os.fsencode(path)!r}, which is not UTF-8"
    elif length > limit:
        problem = f"the socket's path is {length} bytes long, and this system allows {limit}: {path}"
    else:
        return path
    raise ConnectError(problem, kind="unreachable", hint="set RUNTIMED_SOCKET to another path")


def untrusted_peer(sock: socket.socket) -> Optional[str]:
    """Who listens, if it is neither our own user nor root. Anybody could have made the path before our daemon did."""
    option = (socket.SOL_SOCKET, socket.SO_PEERCRED, 12) if sys.platform == "linux" else (0, 1, 76)  # LOCAL_PEERCRED
    uid = int.from_bytes(sock.getsockopt(*option)[4:8], sys.byteorder)
    if uid == 0 or (uid == os.geteuid() and is_mapped(uid)):
        return None
    return f"{'a user outside this user namespace' if uid == os.geteuid() else 'another user'} (uid {uid})"


def is_mapped(uid: int) -> bool:
    """Whether this user namespace knows the uid. All those it does not know look like one and the same."""
    with contextlib.suppress(OSError), open("/proc/self/uid_map") as ranges:
        return any(int(first) <= uid < int(first) + int(count) for first, _, count in map(str.split, ranges))
    return True  # another system, or one without /proc


class Connection:
    """One call, or one watch. A fork's child must not use it: it would take bytes away from its parent."""

    def __init__(self, path: str, method: str, params: Object) -> None:
        self.path, self.method, self._pid = path, method, os.getpid()
        self._connected, self._received, self._ended = False, bytearray(), False
        self.unsent = json.dumps({"jsonrpc": "2.0", "id": ID, "method": method, "params": params}).encode() + b"\n"
        try:
            self.sock: Any = Pipe() if is_pipe(path) else socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        except OSError as exc:  # this process has too many files open
            raise ConnectError(f"no socket can be created for {path}: {exc.strerror or exc}") from exc
        self.sock.setblocking(False)

    def message(self) -> Object:
        """Send the request, unless it is sent, and take the next message. BlockingIOError means: wait, then repeat."""
        if self._pid != os.getpid():
            raise ConnectError(f"this connection to {self.path} belongs to process {self._pid}, which forked this one")
        try:
            if not self._connected:
                self._connect()
            while self.unsent:
                self.unsent = self.unsent[self.sock.send(self.unsent) :]
            while (end := self._received.find(b"\n")) < 0:
                if len(self._received) > MAX_MESSAGE:
                    raise wrong_program(self.path, f"a message is longer than {MAX_MESSAGE} bytes")
                data = self.sock.recv(1 << 18)
                if not data and (self._ended or not self._received.strip()):
                    raise self._failed()
                self._ended = not data
                self._received += data or b"\n"  # the end of the stream also ends a last line without a newline
        except BlockingIOError:
            raise
        except OSError as exc:
            raise self._failed(exc) from exc
        line = bytes(self._received[:end])  # split as bytes, so that no character is ever cut
        del self._received[: end + 1]
        with contextlib.suppress(ValueError, RecursionError):
            if isinstance(message := json.loads(line.decode() if line.strip() else "{}"), dict):
                return message  # {} for a blank line
        raise self._failed() if self._ended else wrong_program(self.path, f"{line[:80]!r} is not a message")

    def _connect(self) -> None:
        self.sock.connect(self.path)
        self._connected = True
        if owner := self.sock.untrusted_peer() if isinstance(self.sock, Pipe) else untrusted_peer(self.sock):
            message = f"{self.path} belongs to {owner}: only a daemon of your own user or of root is trusted"
            hint = "set RUNTIMED_SOCKET to a path in a folder of your own, or run as the user whose daemon it is"
            raise ConnectError(message, kind="untrusted", hint=hint)

    def _failed(self, exc: Optional[OSError] = None) -> ConnectError:
        message = f"the connection to {self.path} was closed before the answer to {self.method} came"
        if self._connected or not exc:
            return ConnectError(message, hint="try again")
        absent = isinstance(exc, (FileNotFoundError, ConnectionRefusedError))
        hint = "start it with: runt daemon start" if absent else "see whose socket it is, or set RUNTIMED_SOCKET"
        message = f"no daemon can be reached at {self.path}: {exc.strerror or exc}"
        return ConnectError(message, kind="unreachable", hint=hint)

    def answers(self, message: Object) -> bool:
        """Whether this message answers the call. `answer` is the result then; an error is raised."""
        id, error, result = message.get("id"), message.get("error"), message.get("result")
        if "method" in message or not (id == ID or (id is None and error is not None)):
            return False
        if isinstance(error, dict) and type(error.get("code")) is int and isinstance(error.get("message"), str):
            raise RPCError(error["message"], code=error["code"], data=error.get("data"))
        if error is not None or not isinstance(result, dict):
            raise wrong_program(self.path, f"{str(message)[:80]} is not an answer to {self.method}")
        self.answer: Object = result
        return True

    def unclaimed(self) -> Optional[str]:
        """The id of an environment that has arrived, if the caller gave up before it saw the answer."""
        for _ in ("before hanging up, which drops on some systems what has arrived", "after it"):
            with contextlib.suppress(OSError, RuntimedError, LookupError, TypeError):
                while not self.unsent:
                    if self.answers(self.message()):
                        return str(self.answer["env"]["id"])
            self.hang_up()
        return None

    def hang_up(self) -> None:
        """End it for both sides, even if a fork holds a copy. A thread that waits on it sees the end."""
        if self._pid == os.getpid():
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)
