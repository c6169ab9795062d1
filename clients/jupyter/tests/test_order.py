"""The order to a standby, whatever that answers, and the stand-in for the Popen of a kernel that was one."""

import asyncio
import json
import os
import resource
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import pytest
from kernels import ARGV
from runtimed_client import Standby

from runtimed_jupyter import running, standby
from runtimed_jupyter.running import Adopted, Running
from runtimed_jupyter.standby import PORTS, Refused, adopt

REFUSED = b'{"refused":"because"}\n'


@pytest.fixture
def process() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that leads a session, as a standby does."""
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as sleeping:
        yield sleeping
        sleeping.kill()


class Ordered:
    """A standby made of memory: it takes one order, gives one answer and hangs up."""

    def __init__(self, process: "subprocess.Popen[bytes]", folder: Path, answer: bytes) -> None:
        self.standby = Standby(process.pid, str(folder / "k"))
        self.line, self.descriptors = b"", list[int]()
        self._answer, self._listener = answer, socket.socket(socket.AF_UNIX)
        self._listener.bind(self.standby.socket)
        self._listener.listen(1)
        self._thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            while not self.line.endswith(b"\n"):
                data, descriptors, _, _ = socket.recv_fds(connection, 1 << 16, 16)
                self.line += data
                self.descriptors += descriptors
                if not data:
                    return
            connection.sendall(self._answer)

    def __enter__(self) -> "Ordered":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(10)
        assert not self._thread.is_alive()
        self._listener.close()
        for descriptor in self.descriptors:
            os.close(descriptor)


def order(ordered: Ordered, info: Optional[dict[str, Any]] = None, **arguments: Any) -> Adopted:
    cmd = ["/envs/bin/python", *ARGV[1:4], "~/f.json"]
    return asyncio.run(adopt(ordered.standby, cmd, {"env": {}, **arguments}, info or {}))


def test_an_order(process: "subprocess.Popen[bytes]", folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.chdir(folder)
    info = {"transport": "tcp", "ip": "127.0.0.1", **{name: free_port() for name in PORTS}}
    before = os.listdir("/dev/fd")
    umask, action = os.umask(0o027), signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    try:
        with Ordered(process, folder, REFUSED) as ordered:
            with pytest.raises(Refused, match=r"^because$"):
                order(ordered, info, env={"A": "\udc80"}, cwd="there", stderr=subprocess.STDOUT)
            for name, descriptor in zip(PORTS, ordered.descriptors[3:]):
                with socket.socket(fileno=os.dup(descriptor)) as listener:
                    socket.create_connection(listener.getsockname()).close()
                    assert listener.getsockname() == ("127.0.0.1", info[name])
            streams = [os.fstat(descriptor) for descriptor in ordered.descriptors[:3]]
            assert os.read(ordered.descriptors[0], 1) == b""  # nobody writes there
            assert streams[1:] == [os.fstat(1)] * 2
    finally:
        os.umask(umask)
        signal.signal(signal.SIGUSR2, action)
    assert os.listdir("/dev/fd") == before
    sent = json.loads(ordered.line)
    limits = sent.pop("limits")
    assert sent == {
        "order": 1,
        "argv": ["-f", "/home/me/f.json"],
        "cwd": f"{os.path.realpath(folder)}/there",
        "environ": ["A=\udc80", f"JPY_PARENT_PID={os.getpid()}"],
        "umask": 0o027,
        "nice": os.nice(0),
        "ignored": [signal.SIGUSR2],
        "listening": [f"tcp://127.0.0.1:{info[name]}" for name in PORTS],
        "independent": False,
    }
    soft, hard = (None if n == resource.RLIM_INFINITY else n for n in resource.getrlimit(resource.RLIMIT_NOFILE))
    assert limits["nofile"] == [soft, hard]
    assert process.poll() is None  # it ends by itself


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.mark.parametrize(
    "change",
    [{"transport": "ipc"}, {"ip": "localhost"}, {"ip": "::1"}, {"ip": "192.0.2.1"}, {"hb_port": 0}, {"hb_port": None}],
)
def test_where_it_cannot_listen_the_kernel_does(
    process: "subprocess.Popen[bytes]", folder: Path, change: dict[str, Any]
) -> None:
    info = {"transport": "tcp", "ip": "127.0.0.1", **{name: free_port() for name in PORTS}, **change}
    before = os.listdir("/dev/fd")
    with Ordered(process, folder, REFUSED) as ordered:
        with pytest.raises(Refused):
            order(ordered, info, independent=True)
        assert len(ordered.descriptors) == 3
    assert os.listdir("/dev/fd") == before
    sent = json.loads(ordered.line)
    assert (sent["listening"], sent["environ"], sent["independent"]) == ([], [], True)


def test_an_order_for_a_banner_with_a_first_line(process: "subprocess.Popen[bytes]", folder: Path) -> None:
    with Ordered(process, folder, REFUSED) as ordered, pytest.raises(Refused):
        asyncio.run(adopt(ordered.standby, ["python", *ARGV[1:]], {"env": {}}, {}, "größe"))
    assert json.loads(ordered.line)["banner"] == "größe"


def test_a_kernel_that_was_a_standby(process: "subprocess.Popen[bytes]", folder: Path) -> None:
    before = os.listdir("/dev/fd")
    with Ordered(process, folder, b'{"started":1}\n{"exit":3}\n') as ordered:
        large = {"env": {"A": "a" * 1_000_000}}  # more than a socket takes at once
        kernel = order(ordered, **large, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert kernel.stdin
        assert kernel.stdout
        os.write(ordered.descriptors[1], b"out")
        kernel.stdin.write(b"in")
        kernel.stdin.close()
        assert os.read(ordered.descriptors[0], 9) == b"in"
        assert os.path.sameopenfile(ordered.descriptors[2], os.open(os.devnull, os.O_RDONLY))
    with kernel.stdout:
        assert kernel.stdout.read() == b"out"
    assert json.loads(ordered.line)["environ"][0] == "A=" + large["env"]["A"]
    assert kernel.poll() is None  # although it has said how it will end
    with pytest.raises(subprocess.TimeoutExpired):
        kernel.wait(0)
    kernel.kill()
    process.wait()
    assert (kernel.wait(), kernel.returncode) == (3, 3)
    assert len(os.listdir("/dev/fd")) == len(before) + 1


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "the standby hung up"),
        (b'{"started":', "the standby hung up"),
        (b"what?\n", "the standby does not answer"),
    ],
)
def test_a_standby_that_does_not_answer_is_killed(
    process: "subprocess.Popen[bytes]", folder: Path, answer: bytes, why: str
) -> None:
    with Ordered(process, folder, answer) as ordered, pytest.raises(Refused, match=why):
        order(ordered, stdout=subprocess.PIPE)
    assert process.wait() == -signal.SIGKILL


def test_a_strangers_socket_is_sent_nothing(
    process: "subprocess.Popen[bytes]", folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standby, "untrusted_peer", lambda _: "another user (uid 7)")
    with Ordered(process, folder, REFUSED) as ordered, pytest.raises(Refused, match=r"/k belongs to another user"):
        order(ordered)
    assert ordered.line == b""
    assert process.poll() is None


def test_a_standby_that_is_gone(process: "subprocess.Popen[bytes]", folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        asyncio.run(adopt(Standby(process.pid, str(folder / "k")), ["python", *ARGV[1:]], {"env": {}}, {}))
    with pytest.raises(Refused, match="its command is not"):
        asyncio.run(adopt(Standby(process.pid, str(folder / "k")), ["python", "-V"], {"env": {}}, {}))


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ([], -9),
        (['{"exit":0}'], 0),
        (['{"exit":3}'], 3),
        (['{"exit":-1}'], 255),
        (['{"exit":0}', '{"signal":15}'], -15),  # the daemon, which knows it, comes last
        (['{"exit":5}', "[]", '{"later":1}', "{"], 5),
    ],
)
def test_how_a_kernel_ended(process: "subprocess.Popen[bytes]", said: list[str], code: int) -> None:
    kernel, other = adopted(process)
    assert kernel.poll() is None
    other.sendall("\n".join(said).encode())
    other.close()
    assert kernel.poll() is None
    process.kill()
    process.wait()
    assert kernel.poll() == code
    kernel.kill()  # nobody
    kernel.close()


def adopted(process: "subprocess.Popen[bytes]") -> tuple[Adopted, socket.socket]:
    """The kernel, and the other end of its connection."""
    ours, other = socket.socketpair()
    ours.setblocking(False)
    return Adopted(process.pid, ours.detach(), b"", {}), other


@pytest.mark.parametrize("told", [True, False])
def test_who_holds_a_kernels_connection_does_not_hold_up_its_end(
    process: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    kernel, other = adopted(process)
    with other:
        if told:
            other.sendall(b'{"exit":7}\n')
        kernel.terminate()
        process.wait()
        assert kernel.poll() is None  # for a moment, somebody may say more
        monkeypatch.setattr(running, "LAST_WORDS_TIME", 0.0)
        assert kernel.poll() == (7 if told else -signal.SIGKILL)


def test_where_no_descriptor_can_stand_for_a_process(
    process: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "pidfd_open", lambda _: os.close(-1), raising=False)
    kernel, other = adopted(process)
    assert kernel.poll() is None
    other.close()
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert kernel.poll() == (-signal.SIGKILL if os.path.exists("/proc/self/stat") else None)
    process.wait()
    assert kernel.poll() == -signal.SIGKILL


def test_a_kernel_whose_connection_was_closed_is_seen_to_end(process: "subprocess.Popen[bytes]") -> None:
    kernel, other = adopted(process)
    with other:
        kernel.close()
        assert other.recv(1) == b""
        assert kernel.poll() is None
        process.kill()
        process.wait()
        assert kernel.poll() == -signal.SIGKILL


def test_a_fork_does_not_hold_the_connection(process: "subprocess.Popen[bytes]") -> None:
    kernel, other = adopted(process)
    with other:
        child = os.fork()
        if not child:
            signal.pause()
        kernel.close()
        assert other.recv(1) == b""
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="only Linux tells")
def test_a_kernel_that_nobody_reaped_has_ended(process: "subprocess.Popen[bytes]") -> None:
    assert Running(process.pid).poll() is None
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert Running(process.pid).poll() == 0
