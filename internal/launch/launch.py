# Starts ipykernel in a Python that was started by somebody else's program text, as python -m ipykernel_launcher would.
import sys

if sys.path[:1] == [""]:
    del sys.path[0]  # a notebook's folder may have a file that is named like one of these

import json
import os
import runpy
import signal
import socket


def listen_on(listeners):
    """Has the kernel's sockets use listeners, by the address that they bind to. Clients may have connected already.

    A client that connects before a kernel listens tries again after ZeroMQ's 100 ms. ZMQ_USE_FD: zmq_setsockopt(3).
    """
    import zmq

    waiting, plain = dict(listeners), zmq.Socket.bind

    def bind(self, addr):
        listener = waiting.pop(addr, None)
        if listener is not None:
            os.set_inheritable(listener, False)
            try:
                self.setsockopt(89, listener)  # ZMQ_USE_FD
            except zmq.ZMQError:  # libzmq before 4.2
                os.close(listener)
        if not waiting:
            zmq.Socket.bind = plain
        return plain(self, addr)

    zmq.Socket.bind = bind


def ask(path, line):
    """Makes a call, and waits a moment for the answer: hanging up would cancel the call."""
    if sys.platform == "win32":
        return ask_pipe(path, line)
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(0.5)
        s.connect(path)
        s.sendall(line)
        s.recv(1)


def ask_pipe(path, line):
    import threading

    import _winapi

    anonymous = 0x00100000  # SECURITY_SQOS_PRESENT alone: whoever made the pipe cannot act as us
    access = _winapi.GENERIC_READ | _winapi.GENERIC_WRITE
    pipe = _winapi.CreateFile(path, access, 0, _winapi.NULL, _winapi.OPEN_EXISTING, anonymous, _winapi.NULL)
    _winapi.WriteFile(pipe, line)
    answer = threading.Thread(target=_winapi.ReadFile, args=(pipe, 1), daemon=True)  # a read has no time limit
    answer.start()
    answer.join(0.5)


def give_back(release):
    """Has the kernel end its lease when it is shut down for good. A kernel that is restarted comes back for it."""
    from ipykernel.ipkernel import IPythonKernel

    plain = IPythonKernel.do_shutdown

    def do_shutdown(self, restart):
        if not restart:
            call = {"jsonrpc": "2.0", "id": 1, "method": "pool.release", "params": {"env": release["env"]}}
            try:
                ask(release["socket"], json.dumps(call).encode() + b"\n")
            except OSError:
                pass  # the lease ends some time after the process
        return plain(self, restart)

    IPythonKernel.do_shutdown = do_shutdown


def begin_banner(text):
    """Has the kernel's banner begin with a line of its own."""
    from ipykernel.ipkernel import IPythonKernel

    usual = IPythonKernel.banner
    IPythonKernel.banner = property(lambda self: text + "\n" + usual.__get__(self))


def launch(argv, listeners, release, ignored=(), banner=None):
    """Becomes the kernel. argv is what follows python -m ipykernel_launcher. Go has lost which signals are ignored."""
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
    if listeners:
        listen_on(listeners)
    if release:
        give_back(release)
    if banner:
        begin_banner(banner)
    sys.argv = ["-m", *argv]
    if hasattr(sys, "orig_argv"):
        sys.orig_argv = [sys.executable, "-m", "ipykernel_launcher", *argv]
    sys.path.insert(0, os.getcwd())  # ipykernel_launcher takes it out again
    runpy.run_module("ipykernel_launcher", run_name="__main__", alter_sys=True)
