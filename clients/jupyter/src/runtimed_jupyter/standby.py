"""Has a standby become the kernel, in place of one that jupyter_client starts. docs/protocol.md has the order."""

import array
import asyncio
import contextlib
import ipaddress
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import IO, Any, Optional

from runtimed_client import Standby
from runtimed_client._wire import untrusted_peer

from .running import Adopted, Running

PYTHON = re.compile(r"pythonw?(\d+(\.\d+)?)?(\.exe)?", re.IGNORECASE)
RECEIPT_TIME = 1.0  # seconds
BACKLOG = 100  # as ZeroMQ has it
PORTS = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")
# The arguments of launch_kernel that an order can express. All others are for Popen.
EXPRESSED = {"cwd", "env", "extra_arguments", "independent", "kernel_id", "stderr", "stdin", "stdout"}


class Refused(Exception):
    """Why there must be a plain kernel."""


def is_python(argv: Sequence[str]) -> bool:
    return bool(argv) and PYTHON.fullmatch(os.path.basename(argv[0])) is not None


def why_plain(argv: Sequence[str], arguments: Mapping[str, Any], *variables: Optional[Mapping[str, str]]) -> str:
    """Why a kernel of these arguments must be a plain one; empty if a standby would be the same."""
    if sys.platform == "win32":
        return "there are no standbys on Windows"
    if any(given and given.get("RUNTIMED_STANDBY") == "0" for given in (os.environ, *variables)):
        return "RUNTIMED_STANDBY is 0"
    if not is_python(argv) or list(argv[1:3]) != ["-m", "ipykernel_launcher"]:
        return "its command is not python -m ipykernel_launcher"
    if unknown := arguments.keys() - EXPRESSED:
        return f"it is started with {', '.join(sorted(unknown))}"
    if signal.pthread_sigmask(signal.SIG_BLOCK, ()):
        return "it would inherit blocked signals"
    return ""


async def adopt(
    standby: Standby, cmd: Sequence[str], arguments: Mapping[str, Any], info: Mapping[str, Any], banner: str = ""
) -> Adopted:
    """Have the standby become the kernel. `info` is what the connection file says. Refused or an OSError says why not.

    The kernel's banner begins with the line `banner`. Afterwards the standby is the kernel, or it ends.
    """
    if why := why_plain(cmd, arguments, arguments["env"]):
        raise Refused(why)
    with contextlib.ExitStack() as stack:
        pipes = stack.enter_context(contextlib.ExitStack())
        descriptors, ends = open_streams(stack, pipes, arguments)
        listeners = listen(stack, info)
        descriptors += [listener.fileno() for listener in listeners.values()]
        line = json.dumps(order(cmd, arguments, list(listeners), banner)).encode() + b"\n"
        connection = stack.enter_context(socket.socket(socket.AF_UNIX))
        connection.setblocking(False)
        connection.connect(standby.socket)
        if stranger := untrusted_peer(connection):
            raise Refused(f"{standby.socket} belongs to {stranger}")
        try:
            receipt, said = await asyncio.wait_for(exchange(connection, line, descriptors), RECEIPT_TIME)
        except BaseException as error:
            with contextlib.suppress(OSError):
                Running(standby.pid).kill()  # it may still become a kernel
            if isinstance(error, (asyncio.TimeoutError, ValueError)):
                raise Refused("the standby does not answer") from error
            raise
        if not receipt.get("started"):
            raise Refused(receipt.get("refused"))
        pipes.pop_all()
        return Adopted(standby.pid, connection.detach(), said, ends)


async def exchange(connection: socket.socket, line: bytes, descriptors: Sequence[int]) -> tuple[dict[str, Any], bytes]:
    """Send the order. Returns the receipt, and what came after it."""
    loop = asyncio.get_running_loop()
    sent = connection.sendmsg([line], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))])
    if rest := line[sent:]:  # sending nothing fails, too, where the answer has come and the other end is closed
        await loop.sock_sendall(connection, rest)
    said = b""
    while b"\n" not in said:
        data = await loop.sock_recv(connection, 4096)
        if not data:
            raise Refused("the standby hung up")
        said += data
    receipt, _, more = said.partition(b"\n")
    return json.loads(receipt), more


def order(cmd: Sequence[str], arguments: Mapping[str, Any], listening: list[str], banner: str = "") -> dict[str, Any]:
    """What makes the kernel the one that launch_kernel of jupyter_client would start with these arguments."""
    independent = bool(arguments.get("independent"))
    variables = {**arguments["env"], **({} if independent else {"JPY_PARENT_PID": str(os.getpid())})}
    silent = {signal.SIGPIPE, signal.SIGXFSZ}  # Popen resets these two
    return {
        "order": 1,
        "argv": [os.path.expanduser(argument) for argument in cmd[3:]],
        "cwd": os.path.join(os.getcwd(), os.fsdecode(arguments.get("cwd") or "")),
        "environ": [f"{os.fsdecode(name)}={os.fsdecode(value)}" for name, value in variables.items()],
        "umask": umask(),
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "limits": limits(),
        "ignored": [n for n in signal.valid_signals() - silent if signal.getsignal(n) == signal.SIG_IGN],
        "listening": listening,
        "independent": independent,
        **({"banner": banner} if banner else {}),
    }


def umask() -> int:
    with contextlib.suppress(OSError), open("/proc/self/status") as status:
        for line in status:
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def limits() -> dict[str, list[Optional[int]]]:
    import resource  # not on Windows

    names = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    pairs = {name[7:].lower(): resource.getrlimit(getattr(resource, name)) for name in names}
    return {name: [None if n == resource.RLIM_INFINITY else n for n in pair] for name, pair in pairs.items()}


def open_streams(
    stack: contextlib.ExitStack, pipes: contextlib.ExitStack, arguments: Mapping[str, Any]
) -> tuple[list[int], dict[str, IO[bytes]]]:
    """The kernel's stdin, stdout and stderr, as Popen would open them, and our ends of the pipes to them."""
    descriptors: list[int] = []
    ends: dict[str, IO[bytes]] = {}
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        given = arguments.get(name)
        if given is None and name != "stdin":
            descriptors.append(number)
        elif given is None or given == subprocess.PIPE:
            pair = os.pipe()
            its, ours = pair if name == "stdin" else pair[::-1]
            stack.callback(os.close, its)
            descriptors.append(its)
            end = pipes.enter_context(os.fdopen(ours, "wb" if name == "stdin" else "rb"))
            if given is None:
                end.close()  # jupyter_client does so
            else:
                ends[name] = end
        elif given == subprocess.STDOUT:
            descriptors.append(descriptors[1])
        elif given == subprocess.DEVNULL:
            descriptors.append(os.open(os.devnull, os.O_RDWR))
            stack.callback(os.close, descriptors[-1])
        else:
            descriptors.append(given if isinstance(given, int) else given.fileno())
    return descriptors, ends


def listen(stack: contextlib.ExitStack, info: Mapping[str, Any]) -> dict[str, socket.socket]:
    """The kernel's sockets, by their addresses, so that no client that connects early has to try again.

    Where that is not possible there are none, and the kernel opens them itself.
    """
    ports = [info.get(name) for name in PORTS]
    try:
        ipaddress.IPv4Address(info.get("ip"))
        if info.get("transport") != "tcp" or not all(ports):
            return {}
        with contextlib.ExitStack() as opened:
            sockets = {}
            for port in ports:
                listener = opened.enter_context(socket.create_server((info["ip"], port), backlog=BACKLOG))
                listener.setblocking(False)
                sockets[f"tcp://{info['ip']}:{port}"] = listener
            stack.push(opened.pop_all())
            return sockets
    except (OSError, ValueError):
        return {}
