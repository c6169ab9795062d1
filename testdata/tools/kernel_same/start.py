"""Starts kernels as a front-end does: by a command line, or by a kernelspec with jupyter_client's KernelManager."""

import contextlib
import os
import random
import select
import shlex
import signal
import socket
import subprocess
import sys
import time

from jupyter_client import KernelManager
from jupyter_client.connect import write_connection_file
from jupyter_client.utils import run_sync


class Hang(Exception):
    """What was waited for did not come in time."""


class Unlucky(Hang):
    """ipykernel's threads wait for each other at its end, as they do once in some hundred ends: try again."""


class Ended(Exception):
    """The kernel ended before what was waited for came."""


PORTS = [name + "_port" for name in ("shell", "iopub", "stdin", "hb", "control")]


class Files:
    """A connection file, and what it is to say."""

    def __init__(self, path, **says):
        if says.get("transport", "tcp") == "tcp":
            says = {**dict(zip(PORTS, free_ports(len(PORTS)))), **says}
        self.path, self.says = path, says

    def write(self):
        write_connection_file(self.path, **self.says)


def free_ports(count):
    """Ports that no connection gets by chance while the kernel starts: those that the system gives are higher."""
    ports = []
    while len(ports) < count:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            ports.append(port)
    return ports


def wait_end(pid, limit):
    """Waits until a process has ended, whoever its parent is. False if it lives on after limit seconds."""
    end = time.monotonic() + limit
    if hasattr(os, "pidfd_open"):
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return True
        try:
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            return bool(poll.poll(max(0, limit) * 1000))
        finally:
            os.close(fd)
    while True:
        with contextlib.suppress(ChildProcessError):  # an ended child of ours stays until it is asked for
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                return True
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if time.monotonic() > end:
            return False
        time.sleep(0.02)


class ByCommand:
    """A command line with {connection_file} and, where ipykernel's further arguments go, {args}."""

    def __init__(self, line):
        self.argv = shlex.split(line)

    def start(self, files, args, **popen):
        if not os.path.exists(files.path):
            files.write()
        return CommandProcess(self.line(files.path, args), popen)

    def line(self, path, args):
        argv = []
        for word in self.argv if "{args}" in self.argv else [*self.argv, "{args}"]:
            argv += args if word == "{args}" else [word.replace("{connection_file}", path)]
        return argv


class CommandProcess:
    """Does what jupyter_client's launch_kernel and LocalProvisioner do."""

    def __init__(self, argv, popen):
        self.again_with = argv, popen
        env = {**popen["env"], "JPY_PARENT_PID": str(os.getpid())}
        stdin = popen.get("stdin", subprocess.PIPE)
        self.process = subprocess.Popen(argv, **{**popen, "env": env, "stdin": stdin}, start_new_session=True)
        if self.process.stdin:
            self.process.stdin.close()
        self.pid = self.process.pid
        self.group = os.getpgid(self.pid)

    def poll(self):
        return self.process.poll()

    def wait(self, limit):
        """The exit code, or None if it lives on."""
        if not wait_end(self.pid, limit):
            return None
        return self.process.wait()

    def signal(self, number, group=True):
        if group:
            os.killpg(self.group, number)
        else:
            self.process.send_signal(number)

    def interrupt(self):
        self.signal(signal.SIGINT)

    def restart(self, kernel, limit):
        """Ends it for a restart, starts it again, and returns the exit code and the next process."""
        kernel.control("shutdown_request", {"restart": True}, reply=False)
        code = self.wait(limit)
        if code is None:
            raise Unlucky("waited for its end before the restart")
        argv, popen = self.again_with
        return code, CommandProcess(argv, popen)


class BySpec:
    """The name of a kernelspec, which may have a provisioner of its own."""

    def __init__(self, name):
        self.name = name

    def start(self, files, args, **popen):
        km = KernelManager(kernel_name=self.name, connection_file=files.path)
        km.cache_ports = False
        for name, value in files.says.items():
            setattr(km.session if name == "key" else km, name, value)
        km.start_kernel(extra_arguments=list(args), **popen)
        return SpecProcess(km)


class SpecProcess:
    def __init__(self, km):
        self.km = km
        self.pid = km.provisioner.pid

    def poll(self):
        return run_sync(self.km.provisioner.poll)()

    def wait(self, limit):
        if not wait_end(self.pid, limit):
            return None
        return run_sync(self.km.provisioner.wait)()

    def signal(self, number, group=True):
        if group:
            run_sync(self.km.provisioner.send_signal)(number)
        else:
            os.kill(self.pid, number)

    def interrupt(self):
        self.km.interrupt_kernel()

    def restart(self, kernel, limit):
        kernel.close()
        self.km.restart_kernel()
        return None, SpecProcess(self.km)  # the manager keeps the exit code to itself


def starter(kind, text):
    return ByCommand(text) if kind == "command" else BySpec(text)


def reap():
    """Takes note of all children that have ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


LINUX = sys.platform.startswith("linux")
