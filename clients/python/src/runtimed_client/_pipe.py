"""A named pipe of Windows, with the methods of a socket that the client uses. Only a full pipe makes it wait."""

import importlib
from collections.abc import Mapping
from typing import Any, Optional

from ._errors import ConnectError

BUSY = 231  # the system's number for a pipe without a free end
ENDED = (109, 232, 233)  # and those for one whose other side is closed
ANONYMOUS = 0x00100000  # SECURITY_SQOS_PRESENT alone: whoever made the pipe cannot act as us


def is_pipe(path: str) -> bool:
    return path[:9].lower() == "\\\\.\\pipe\\" and len(path) > 9


def checked_pipe(path: str, what: str) -> str:
    if is_pipe(path):
        return path
    problem = f"{what} is {path!r}, which is not the name of a pipe (\\\\.\\pipe\\…)"
    raise ConnectError(problem, kind="unreachable", hint="set RUNTIMED_SOCKET to another path")


def user_pipe(env: Mapping[str, str]) -> str:
    """The pipe of a user, if RUNTIMED_SOCKET is not set."""
    if not env.get("USERNAME"):
        raise ConnectError("USERNAME is not set, so the pipe has no name", kind="unreachable")
    # Only A to Z have the same lower case in every language. Windows takes either case for a pipe.
    return "\\\\.\\pipe\\runtimed-" + "".join(c.lower() if "A" <= c <= "Z" else c for c in env["USERNAME"])


def made_by_us(handle: int) -> bool:
    """Whether our own user made the pipe. Anybody may make one of that name while no daemon runs."""
    ctypes: Any = importlib.import_module("ctypes")
    pointer, ref = ctypes.c_void_p, ctypes.byref
    security, system = ctypes.WinDLL("advapi32"), ctypes.WinDLL("kernel32")
    owner, descriptor, token, user = pointer(), pointer(), pointer(), ctypes.create_string_buffer(256)
    system.GetCurrentProcess.restype = pointer
    kernel_object, owner_information, token_query, token_user = 6, 1, 8, 1
    owner_of = (pointer(handle), kernel_object, owner_information, ref(owner), None, None, None, ref(descriptor))
    try:
        return bool(
            security.GetSecurityInfo(*owner_of) == 0
            and security.OpenProcessToken(pointer(system.GetCurrentProcess()), token_query, ref(token))
            and security.GetTokenInformation(token, token_user, user, len(user), ref(ctypes.c_ulong()))
            and security.EqualSid(owner, pointer.from_buffer(user))  # the user begins with a pointer to its SID
        )
    finally:
        system.CloseHandle(token)
        system.LocalFree(descriptor)


class Pipe:
    """Looks for what is there before it reads, so that it needs no thread, and no event loop of a special kind."""

    def __init__(self) -> None:
        self._api: Any = importlib.import_module("_winapi")  # multiprocessing's, because open() cannot look first
        self._handle: Any = None
        self._shut = False
        self.pause = 0.001  # seconds until the next look; it grows while nothing comes

    def setblocking(self, flag: bool) -> None:
        """A pipe never blocks."""

    def connect(self, path: str) -> None:
        api = self._api
        access = api.GENERIC_READ | api.GENERIC_WRITE
        try:
            self._handle = api.CreateFile(path, access, 0, api.NULL, api.OPEN_EXISTING, ANONYMOUS, api.NULL)
        except OSError as exc:
            if getattr(exc, "winerror", None) == BUSY:  # the daemon is between two connections
                raise BlockingIOError from exc
            raise

    def untrusted_peer(self) -> Optional[str]:
        """Who made it, if that is not our own user."""
        return None if made_by_us(self._handle) else "another user"

    def send(self, data: bytes) -> int:
        self.pause = 0.001  # an answer is near
        return int(self._api.WriteFile(self._handle, data)[0])

    def recv(self, size: int) -> bytes:
        """As a socket does that does not block."""
        try:
            there: int = self._api.PeekNamedPipe(self._handle)[0]
            if there:
                self.pause = 0.001
                return bytes(self._api.ReadFile(self._handle, min(size, there))[0])
        except OSError as exc:
            if getattr(exc, "winerror", None) in ENDED:
                return b""
            raise
        if self._shut:
            return b""
        self.pause = min(2 * self.pause, 0.05)
        raise BlockingIOError

    def shutdown(self, how: int) -> None:
        """End the wait of another thread. The other side sees nothing before close."""
        self._shut = True

    def close(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            self._api.CloseHandle(handle)
