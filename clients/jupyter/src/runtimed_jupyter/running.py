"""Stand-ins for the Popen of a kernel that this process did not start."""

import contextlib
import json
import os
import select
import signal
import subprocess
import time
import weakref
from collections.abc import Mapping
from typing import IO, Optional

LAST_WORDS_TIME = 1.0  # seconds, for the news of how a kernel ended


def is_zombie(pid: int) -> bool:
    """Whether it has ended and nobody reaped it, as happens in containers. Only Linux tells."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b") ")[2][:1] in (b"Z", b"X")
    except OSError:
        return False


class Running:
    """Stands in for the Popen of a kernel that another process started. Its exit code is unknown, and given as 0."""

    stdin: Optional[IO[bytes]] = None
    stdout: Optional[IO[bytes]] = None
    stderr: Optional[IO[bytes]] = None

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def has_ended(self) -> bool:
        with contextlib.suppress(ProcessLookupError):
            # A kernel leads a session; another process that got its pid does not.
            return os.getsid(self.pid) != self.pid or is_zombie(self.pid)
        return True

    def poll(self) -> Optional[int]:
        return 0 if self.has_ended() else None

    def wait(self) -> int:
        return 0  # LocalProvisioner asks only after poll() has seen the end

    def send_signal(self, signum: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, signum)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


class Adopted(Running):
    """Stands in for the Popen of a standby that has become a kernel. The daemon, its parent, tells how it ended.

    The kernel ends with the connection, unless it is independent. So that is a descriptor, and no socket that would be
    closed with its last reference: kernels outlive a manager that nobody refers to any more. `said` is what has come on
    it after the receipt.
    """

    def __init__(self, pid: int, connection: int, said: bytes, pipes: Mapping[str, IO[bytes]]) -> None:
        super().__init__(pid)
        self.returncode: Optional[int] = None
        self.stdin, self.stdout, self.stderr = map(pipes.get, ("stdin", "stdout", "stderr"))
        self._connection: Optional[int] = connection
        self._pidfd: Optional[int] = None
        with contextlib.suppress(AttributeError, OSError):  # another system, or a Linux before 5.3
            self._pidfd = os.pidfd_open(pid)
        self._said, self._end = said, 0.0
        connections.add(self)

    def has_ended(self) -> bool:
        if self._pidfd is None:
            return super().has_ended()
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(0))

    def poll(self) -> Optional[int]:
        if self.returncode is None and self.has_ended():
            self._end = self._end or time.monotonic()
            if self._has_heard_all() or time.monotonic() > self._end + LAST_WORDS_TIME:
                self.returncode = self._exit_code()
                self.close()
        return self.returncode

    def wait(self, timeout: Optional[float] = None) -> int:
        end = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired("the kernel", timeout or 0)
            time.sleep(0.01)
        return code

    def _has_heard_all(self) -> bool:
        """Read what was said. False if more may come: what a cell has forked may hold the connection open, too."""
        try:
            while self._connection is not None and (data := os.read(self._connection, 4096)):
                self._said += data
        except BlockingIOError:
            return False
        except OSError:  # it was reset
            pass
        return True

    def _exit_code(self) -> int:
        for line in reversed(self._said.splitlines()):  # the last counts: the daemon knows, the kernel only intends
            with contextlib.suppress(ValueError, KeyError, TypeError):
                end = json.loads(line)
                return -int(end["signal"]) if "signal" in end else int(end["exit"]) & 0xFF
        return -signal.SIGKILL  # a kernel that is not killed says something

    def close(self) -> None:
        for descriptor in (self._connection, self._pidfd):
            if descriptor is not None:
                os.close(descriptor)
        self._connection = self._pidfd = None


connections: "weakref.WeakSet[Adopted]" = weakref.WeakSet()


def forget_connections() -> None:
    """In a fork of this process, which would hold them open for as long as it runs."""
    for kernel in connections:
        kernel.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget_connections)
