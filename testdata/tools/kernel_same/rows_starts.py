"""The ways to start a kernel. Each row has kernels of its own."""

import contextlib
import json
import os
import shutil
import socket
import tempfile

import zmq

from .start import ByCommand
from .table import OWN, row

own = {"scene": OWN}


@row("start: what is written goes to the front-end's pipes, in order", **own)
def pipes(front):
    k = front.start(args=["--IPKernelApp.capture_fd_output=False"])
    k.run(
        """
import ctypes, os, subprocess, sys
for n in range(3):
    os.write(1, b"raw %d\\n" % n)
    subprocess.run(["echo", "from a child"])
    ctypes.CDLL(None).puts(b"from C"); ctypes.CDLL(None).fflush(None)
    print("from Python", file=sys.__stdout__, flush=True)
    os.write(2, b"error %d\\n" % n)
    print("to the cell")
"""
    )
    return k.shutdown()


@row("start: stdin is /dev/null, or a file", **own)
def stdin(front):
    said = []
    with open(front.write("input.txt", "from the file")) as text, open(os.devnull) as null:
        for given in (null, text):
            k = front.start(stdin=given)
            said.append(k.run("import sys, os; sys.stdin.isatty(), os.fstat(0).st_mode, os.read(0, 99)"))
    return said


@row("start: with arguments", **own)
def arguments(front):
    args = ["--IPKernelApp.exec_lines=x = 5", "--IPKernelApp.exec_lines=y = 6", "--no-secure", "--matplotlib=agg"]
    args += [
        "--InteractiveShell.ast_node_interactivity=all",
        "--IPKernelApp.extensions=autoreload",
        "--HistoryManager.enabled=False",
    ]
    k = front.start(args=args)
    said = [k.run("x, y\n1\n2"), k.run("import sys; sys.argv, sys.orig_argv"), k.run("%history")]
    return [*said, k.run("import matplotlib; matplotlib.get_backend()"), k.shutdown()]


@row("start: with a log, and arguments that nobody knows", **own)
def logs(front):
    k = front.start(args=["--log-level=INFO", "--IPKernelApp.nosuch=1", "--nosuch=2", "further"])
    return [k.run("import sys; sys.argv"), k.shutdown()]


@row("start: arguments that end it at once", **own)
def at_once(front):
    return [front.start(args=[arg], ready=False).end() for arg in ("--version", "--help", "--IPKernelApp.log_level=x")]


@row("start: another profile, in a folder of IPython's that is new", **own)
def profiles(front):
    new = front.path("new")
    front.write("other/startup/first.py", "from_other = 1\n")
    k = front.start(args=["--profile-dir=" + front.path("other")], env={**front.env, "IPYTHONDIR": new})
    said = k.run("ip = get_ipython(); from_other, ip.profile_dir.location, ip.ipython_dir")
    return [said, k.shutdown(), sorted(os.listdir(new))]


@row("start: a profile whose files fail", **own)
def bad_profile(front):
    front.write("ipython/profile_default/startup/00-bad.py", "1 / 0\n")
    front.write(
        "ipython/profile_default/startup/01-exit.py",
        "print('startup speaks')\nimport sys\nsys.stderr.write('and errs')\n",
    )
    front.write(
        "ipython/profile_default/ipython_kernel_config.py", "c.nosuch.x = 1\nc.IPKernelApp.exec_files = ['nosuch.py']\n"
    )
    k = front.start()
    end = [k.run("1 + 1"), k.shutdown()]
    front.write("ipython/profile_default/ipython_kernel_config.py", "syntax error\n")
    k = front.start()
    return [end, k.run("1 + 1"), k.shutdown()]


@row("start: a folder that is gone", **own)
def no_folder(front):
    """The front-end's folder is removed after the start of the kernel."""
    k = front.start()
    os.rmdir(front.cwd)
    try:
        return [k.run("import os; os.getcwd()"), k.run("!echo here"), k.shutdown()]
    finally:
        os.mkdir(front.cwd)


@row("start: by ipc", **own)
def ipc(front):
    """The path of a socket must stay short."""
    with short_folder() as folder:
        front.names.add(folder, "<ipc>")
        k = front.start(front.files(transport="ipc", ip=os.path.join(folder, "k")))
        said = [k.run("1 + 1"), k.run("import ipykernel.connect as c; c.get_connection_info(unpack=True)['transport']")]
        said.append(sorted(os.listdir(folder)))
        return [*said, k.shutdown(), sorted(os.listdir(folder))]


@contextlib.contextmanager
def short_folder():
    folder = tempfile.mkdtemp(dir="/tmp")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@row("start: other addresses, another digest, and no key", **own)
def addresses(front):
    given = [{"ip": "0.0.0.0", "signature_scheme": "hmac-sha512"}, {"key": b""}]
    if isinstance(front.starter, ByCommand):  # KernelManager refuses a name
        given[1]["ip"] = "localhost"
    kernels = [front.start(front.files(**says)) for says in given]
    return [k.run("1 + 1") for k in kernels]


@row("start: with encrypted sockets", **own)
def encrypted(front):
    public, secret = zmq.curve_keypair()
    k = front.start(front.files(curve_publickey=public, curve_secretkey=secret))
    return [k.run("1 + 1"), k.shutdown()]


@row("start: a port that another program has", **own)
def taken(front):
    files = front.files()
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        files.says["shell_port"] = s.getsockname()[1]
        k = front.start(files, ready=False)
        end = k.end()
        text = end["pipes"][1]
        return [end["exit code"], "ddress already in use" in text]


@row("start: messages that were sent before it listened are answered", **own)
def early(front):
    """A front-end connects and asks at once, while the kernel still starts. Its connection file stays as it is."""
    files = front.files()
    k = front.start(files, ready=False)
    asked = k.ask("first = 1; first")
    k.pump("the first answer", lambda: asked.reply is not None)
    status = asked.reply["content"]["status"]
    k.ready()
    with open(files.path) as f:
        says = sorted(json.load(f))
    said = [status, asked.reply["content"]["execution_count"], k.run("first"), says, oct(os.stat(files.path).st_mode)]
    return [*said, k.shutdown(), os.path.exists(files.path)]


@row("start: an environment of the front-end alone", **own)
def bare(front):
    """Almost nothing is set, as in a service."""
    keep = ("HOME", "PATH", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR", "RUNTIMED_NO_START")
    k = front.start(env={n: v for n, v in front.env.items() if n in keep})
    return [
        k.run("import os; sorted((n, v) for n, v in os.environ.items() if n != 'JPY_PARENT_PID')"),
        k.run("!env | grep -v -e ^_= -e ^JPY -e ^PWD -e ^SHLVL | sort"),
        k.shutdown(),
    ]
