"""Where a fake daemon listens: on a socket of Unix, or on a pipe of Windows that looks like one to the tests."""

import importlib
import io
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any, Optional

WINDOWS = sys.platform == "win32"
api: Any = importlib.import_module("_winapi") if WINDOWS else None


def place(folder: Path, name: str = "s") -> str:
    """An address that only the test with this folder has."""
    return f"\\\\.\\pipe\\{folder.name}-{name}" if WINDOWS else str(folder / name)


def forget(path: str) -> None:
    """Remove what a listener leaves; a pipe ends with it."""
    if not WINDOWS:
        os.unlink(path)


def listen(path: str, backlog: int = 64) -> Any:
    if WINDOWS:
        return PipeListener(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(backlog)
    return listener


def wake(listener: Any) -> None:
    """Have an accept that waits return."""
    if isinstance(listener, PipeListener):
        listener.shutdown(socket.SHUT_RDWR)
    else:
        with socket.socket(socket.AF_UNIX) as wakes:
            wakes.connect(listener.getsockname())


def for_us() -> int:
    """Security attributes, as the daemon has them: an elevated process would else make its group the owner."""
    ctypes: Any = importlib.import_module("ctypes")
    pointer, ref = ctypes.c_void_p, ctypes.byref
    security, system = ctypes.WinDLL("advapi32"), ctypes.WinDLL("kernel32")
    system.GetCurrentProcess.restype = pointer
    token, user, name = pointer(), ctypes.create_string_buffer(256), ctypes.c_wchar_p()
    assert security.OpenProcessToken(pointer(system.GetCurrentProcess()), 8, ref(token))
    assert security.GetTokenInformation(token, 1, user, len(user), ref(ctypes.c_ulong()))
    assert security.ConvertSidToStringSidW(pointer.from_buffer(user), ref(name))
    system.CloseHandle(token)
    text = f"O:{name.value}D:P(A;;GA;;;{name.value})"

    class Attributes(ctypes.Structure):  # type: ignore[misc]
        _fields_ = (("length", ctypes.c_ulong), ("descriptor", pointer), ("inherit", ctypes.c_int))

    kept = Attributes(ctypes.sizeof(Attributes), None, 0)
    descriptor = pointer()
    assert security.ConvertStringSecurityDescriptorToSecurityDescriptorW(text, 1, ref(descriptor), None)
    kept.descriptor = descriptor.value
    for_us.kept = kept  # type: ignore[attr-defined]  # as long as the process
    return int(ctypes.addressof(kept))


OURS = for_us() if WINDOWS else 0


class PipeListener:
    """There is a free instance of the pipe at any time until it is closed."""

    def __init__(self, path: str) -> None:
        self.path, self._ended = path, False
        self._free: Optional[int] = self._instance(True)

    def _instance(self, first: bool = False) -> int:
        mode = api.PIPE_ACCESS_DUPLEX | (api.FILE_FLAG_FIRST_PIPE_INSTANCE if first else 0)
        free = api.PIPE_UNLIMITED_INSTANCES
        return int(api.CreateNamedPipe(self.path, mode, api.PIPE_WAIT, free, 1 << 16, 1 << 16, 0, OURS))

    def settimeout(self, seconds: float) -> None:
        """An accept waits until it is woken."""

    def accept(self) -> "tuple[PipeEnd, str]":
        free = self._free
        if free is None:
            raise OSError("it is closed")
        try:
            api.ConnectNamedPipe(free)
        except OSError as exc:
            if exc.winerror not in (232, api.ERROR_PIPE_CONNECTED):  # type: ignore[attr-defined]  # it came, or went
                raise
        end, self._free = PipeEnd(free), None
        if self._ended:
            end.close()
            raise OSError("it is closed")
        self._free = self._instance()
        return end, ""

    def shutdown(self, how: int) -> None:
        """End an accept that waits."""
        self._ended = True
        access = api.GENERIC_READ | api.GENERIC_WRITE
        api.CloseHandle(api.CreateFile(self.path, access, 0, api.NULL, api.OPEN_EXISTING, 0, api.NULL))

    def close(self) -> None:
        """Whoever accepts has closed it, after shutdown."""
        free, self._free = self._free, None
        if free is not None and not self._ended:
            api.CloseHandle(free)


class PipeEnd(io.RawIOBase):
    """The server's end of one connection. Its reader looks before it reads, so that a writer need not wait for it."""

    def __init__(self, handle: int) -> None:
        self._handle, self._shut = handle, False

    def settimeout(self, seconds: float) -> None:
        """It waits as long as the test."""

    def sendall(self, data: bytes) -> None:
        while data:
            if self.closed or self._shut:
                raise OSError("it is closed")
            data = data[api.WriteFile(self._handle, data)[0] :]

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        pause = 0.001
        while not self._shut:
            try:
                there = api.PeekNamedPipe(self._handle)[0]
                if there:
                    data = api.ReadFile(self._handle, min(len(buffer), there))[0]
                    buffer[: len(data)] = data
                    return len(data)
            except OSError:
                break
            time.sleep(pause)
            pause = min(2 * pause, 0.02)
        return 0

    def makefile(self, mode: str) -> Any:
        return io.BufferedReader(self)

    def shutdown(self, how: int) -> None:
        """The reader ends, and whoever serves closes then."""
        self._shut = True

    def close(self) -> None:
        if not self.closed:
            super().close()
            api.CloseHandle(self._handle)
