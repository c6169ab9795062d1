"""A named pipe of Windows with the methods of a socket that the client uses. Nothing here waits, but for room in the pipe."""

import importlib
import socket
from typing import Any, Optional

BUSY, ENDED = (
    231,
    (109, 232, 233),
)  # the system's numbers for a pipe without a free end, and for one whose other side is closed
ANONYMOUS = 0x00100000  # SECURITY_SQOS_PRESENT and no more: whoever made the pipe cannot act as us


def is_pipe(path: str) -> bool:
    return path[:9].lower() == "\\\\.\\pipe\\" and len(path) > 9


def pipe_of(user: str) -> str:
    """Only A to Z have the same lower case in every language; Windows takes either case for a pipe."""
    return "\\\\.\\pipe\\runtimed-" + "".join(letter.lower() if "A" <= letter <= "Z" else letter for letter in user)


def made_by_us(handle: int) -> bool:
    """Whether our own user made the pipe: anybody may make one of that name while no daemon runs."""
    ctypes: Any = importlib.import_module("ctypes")
    pointer, ref = ctypes.c_void_p, ctypes.byref
    security, system = ctypes.WinDLL("advapi32"), ctypes.WinDLL("kernel32")
    owner, descriptor, token, user = pointer(), pointer(), pointer(), ctypes.create_string_buffer(256)
    system.GetCurrentProcess.restype = pointer
    try:
        return bool(
            security.GetSecurityInfo(pointer(handle), 6, 1, ref(owner), None, None, None, ref(descriptor))
            == 0  # the owner of a handle
            and security.OpenProcessToken(pointer(system.GetCurrentProcess()), 8, ref(token))  # TOKEN_QUERY
            and security.GetTokenInformation(
                token, 1, user, len(user), ref(ctypes.c_ulong())
            )  # TOKEN_USER: a pointer to its SID is first
            and security.EqualSid(owner, pointer.from_buffer(user))
        )
    finally:
        system.CloseHandle(token)
        system.LocalFree(descriptor)


class Pipe:
    """What is to be read is looked for before it is read, so that a pipe needs no event loop of one kind, and no thread."""

    def __init__(self) -> None:
        self._api: Any = importlib.import_module(
            "_winapi"
        )  # what multiprocessing uses: open() has no way to look first
        self._handle: Any = None
        self._shut = False
        self.pause = 0.001  # seconds until the next look; the longer nothing comes, the longer

    def connect(self, path: str) -> None:
        api = self._api
        try:
            self._handle = api.CreateFile(
                path, api.GENERIC_READ | api.GENERIC_WRITE, 0, api.NULL, api.OPEN_EXISTING, ANONYMOUS, api.NULL
            )
        except OSError as exc:
            if getattr(exc, "winerror", None) == BUSY:  # the daemon is between two connections
                raise BlockingIOError from exc
            raise

    def stranger(self) -> Optional[str]:
        """Who made it, if that is not our own user."""
        return None if made_by_us(self._handle) else "another user"

    def send(self, data: bytes) -> int:
        self.pause = 0.001  # an answer is near
        return int(self._api.WriteFile(self._handle, data)[0])

    def recv(self, size: int, flags: int = 0) -> bytes:
        """As of a socket that does not block. With MSG_PEEK what is there stays."""
        try:
            there: int = self._api.PeekNamedPipe(self._handle)[0]
            if there == 0:
                self.pause = min(2 * self.pause, 0.05)
                if self._shut:
                    return b""
                raise BlockingIOError
            self.pause = 0.001
            if flags & socket.MSG_PEEK:
                return bytes(self._api.PeekNamedPipe(self._handle, size)[0])
            return bytes(self._api.ReadFile(self._handle, min(size, there))[0])
        except OSError as exc:
            if getattr(exc, "winerror", None) in ENDED:
                return b""
            raise

    def shutdown(self, how: int) -> None:
        """For whoever waits in another thread. The other side sees nothing before close."""
        self._shut = True

    def close(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            self._api.CloseHandle(handle)
