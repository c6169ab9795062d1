"""How a kernel starts and ends, however that comes about. Each row has kernels of its own."""

import ast
import contextlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile

import zmq

from .rows_cells import own_name, wheel
from .start import Ended, wait_end
from .table import OWN, row

own = {"scene": OWN}


def ending(code):
    """What a front-end sees of a cell that ends the kernel: an answer to it may be lost, so it is not looked at."""

    def run(front):
        k = front.start()
        k.run("print('before')")
        k.ask(code)
        return k.end()

    return run


for what, code in {
    "exit()": "exit()",
    "quit()": "quit()",
    "os._exit(3)": "import os; os._exit(3)",
    "os.abort()": "import os; os.abort()",
    "a kill by itself": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "a segmentation fault": "import ctypes; ctypes.string_at(1)",
    "a signal that nobody handles": "import os, signal; os.kill(os.getpid(), signal.SIGUSR1)",
}.items():
    row("end: " + what, **own)(ending(code))


@row("end: a signal to the process", **own)
def terminate(front):
    """As `kill PID` does, and a service that stops."""
    said = {}
    for number in (signal.SIGTERM, signal.SIGHUP):
        k = front.start()
        k.process.signal(number, group=False)
        said[number.name] = k.end()
    return said


@row("end: SIGTERM to the group, with children", **own)
def terminate_group(front):
    k = front.start()
    child = int(k.value("__import__('subprocess').Popen(['sleep', '100']).pid"))
    k.process.signal(signal.SIGTERM)
    return [k.end(), wait_end(child, 5)]


@row("end: SIGKILL to the group, with children", **own)
def kill_group(front):
    k = front.start()
    child = int(k.value("__import__('subprocess').Popen(['sleep', '100']).pid"))
    try:
        k.process.signal(signal.SIGKILL)
        return [k.end(), wait_end(child, 5)]
    finally:
        kill(child)


@row("end: SIGKILL to the process alone, with children", **own)
def kill_process(front):
    k = front.start()
    child = int(k.value("__import__('subprocess').Popen(['sleep', '100'], stdin=-3, stdout=-3, stderr=-3).pid"))
    try:
        k.process.signal(signal.SIGKILL, group=False)
        return [k.end(), "the child has ended" if wait_end(child, 1) else "the child lives on"]
    finally:
        kill(child)


@row("end: SIGKILL while a cell runs", **own)
def kill_busy(front):
    k = front.start()
    k.begin("runs()\nwhile True: pass")
    k.process.signal(signal.SIGKILL)
    return k.end()


@row("end: the kernel is killed by another", **own)
def kill_kernel(front):
    k = front.start()
    os.kill(k.facts["pid"], signal.SIGKILL)
    return k.end()


@row("end: the front-end is killed", **own)
def orphan(front):
    """The process that started the kernel dies; the kernel ends, and nothing of it is left."""
    files = front.files()
    front.names.add(files.path, "<connection file>")
    out, told = os.pipe()
    null = os.open(os.devnull, os.O_RDWR)
    between = os.fork()
    if between == 0:
        with contextlib.suppress(BaseException):
            if front.before:
                subprocess.run(shlex.split(front.before), check=True)
            popen = {"cwd": front.cwd, "env": dict(front.env), "stdout": null, "stderr": null}
            kernel = front.starter.start(files, front.args, **popen)
            os.write(told, b"%d\n" % kernel.pid)
            signal.pause()
        os._exit(1)
    os.close(told)
    try:
        pid = int(os.read(out, 20))
        kernel_pid = front.watch(files, pid, between)
    finally:
        kill(between)
        os.waitpid(between, 0)
    return [wait_end(pid, 15), wait_end(kernel_pid, 15)]


def kill(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@row("end: as the button does it", **own)
def shutdown(front):
    """What is to happen at the end of Python happens."""
    k = front.start()
    mark = front.path("work", "marks")
    k.run(
        f"""
import atexit, os, sys, threading, weakref
def mark(text):
    with open({mark!r}, "a") as f: f.write(text + "\\n")
atexit.register(mark, "atexit")
atexit.register(lambda: os.write(2, b"from atexit"))
class D:
    def __del__(self): mark("del")
d = D()
threading.Thread(target=lambda: (threading.main_thread().join(), mark("thread"))).start()
weakref.finalize(d, mark, "finalize")
child = __import__("subprocess").Popen(["sleep", "100"])
threading.Thread(target=child.wait, daemon=True).start()  # an end of it that nobody takes note of makes ipykernel wait
"""
    )
    child = int(k.value("child.pid"))
    end = k.shutdown()
    with open(mark) as f:
        marks = f.read().split()
    # whether an object of the cell is deleted at the end depends on what else still has it
    return [end, [m for m in marks if m != "del"], wait_end(child, 5), {"look: deleted": "del" in marks}]


@row("end: while a cell runs", **own)
def shutdown_busy(front):
    k = front.start()
    k.begin("import time; runs(); time.sleep(1)")
    return k.shutdown()


@row("end: by the shell channel, and for a restart", **own)
def shutdown_shell(front):
    said = []
    for channel, restart in (("shell", False), ("control", True)):
        k = front.start()
        k.send("shutdown_request", {"restart": restart}, channel)
        said.append(k.end())
    return said


@row("restart: all is new but what was installed", **own)
def restart(front):
    k = front.start()
    name = own_name(front)
    k.run(f"%pip install --quiet --no-index {wheel(front.path('work'), name)}")
    k.run("import os\nstate = 1\nos.environ['MARK'] = '1'\nos.chdir('/')\nos.umask(0)")
    first = k.facts["pid"]
    code = k.restart()
    return [
        code,
        k.facts["pid"] != first,
        k.run(f"import os, {name}\nos.getcwd(), os.environ.get('MARK'), 'state' in globals(), {name}.answer"),
        k.run("get_ipython().execution_count"),
        k.run(f"%pip uninstall --quiet -y {name}"),
        k.shutdown(),
    ]


@row("restart: while a cell runs, and after a crash", **own)
def restart_busy(front):
    k = front.start()
    k.begin("import time; runs(); time.sleep(0.5)")
    said = [k.restart(), k.run("1 + 1")]
    if hasattr(k.process, "km"):
        return said
    k.ask("import os; os._exit(1)")
    k.process.wait(k.left())
    k.deadline()
    return [*said, k.restart(), k.run("1 + 1")]


@row("history goes on in the next kernel", **own)
def history(front):
    k = front.start()
    k.run("'from the first kernel'")
    k.run("print('with output')")
    end = k.shutdown()
    k = front.start()
    asked = {"hist_access_type": "search", "pattern": "*first kernel*", "raw": True, "output": True, "n": 5}
    found = k.request("history_request", asked)
    return [end, found, k.run("%history -g first"), k.run("%history ~1/1-2"), sorted(os.listdir(front.path("ipython")))]


@row("two kernels have nothing random in common", **own)
def random(front):
    code = """
import os, random, secrets, sys, tempfile, threading, uuid
import numpy
values = [random.random(), numpy.random.rand(), str(uuid.uuid4()), hash("a"), secrets.token_hex(), id(object())]
values += [os.urandom(4).hex(), tempfile.mktemp(), get_ipython().kernel.ident, get_ipython().kernel.session.session]
values += [__import__("multiprocessing").current_process().authkey.hex(), numpy.random.default_rng().random()]
"""
    seen = []
    for _ in range(2):
        k = front.start()
        k.run(code)
        seen.append(ast.literal_eval(k.value("values")))
        k.shutdown()
    return [a != b for n, (a, b) in enumerate(zip(*seen)) if n != 5]  # an address may be the same by chance


# ---- ways to start


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


@row("start: what is written goes to the pipes as well as to the cell", **own)
def both(front):
    k = front.start()
    said = k.run("import os; _ = os.write(1, b'to both end')", until="end")
    return [said, k.shutdown()]


@row("start: stdin is /dev/null, a file or a pipe that is open", **own)
def stdin(front):
    said = []
    path = front.write("input.txt", "from the file")
    r, w = os.pipe()
    with open(path) as text, open(os.devnull) as null:
        for given in (null, text, r):
            k = front.start(stdin=given)
            if given == r:
                os.write(w, b"from the pipe")
                os.close(w)
            said.append(
                [k.run("import sys, os; sys.stdin.isatty(), os.fstat(0).st_mode, os.read(0, 99)"), k.shutdown()]
            )
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
    said = []
    for args in (["--version"], ["--help"], ["--show-config"], ["--IPKernelApp.exec_lines"], ["--Session.username"]):
        k = front.start(args=args, ready=False)
        if args[0][:6] == "--Sess" or args[0][:5] == "--IPK":
            with contextlib.suppress(Ended):
                k.ready()
                said.append(k.shutdown())
                continue
        said.append(k.end())
    return said


@row("start: without the profile's folder and with another", **own)
def profiles(front):
    front.write("ipython/profile_other/startup/first.py", "from_other = 1\n")
    k = front.start(args=["--profile=other"])
    said = [k.run("from_other"), k.run("get_ipython().profile_dir.location"), k.shutdown()]
    k = front.start(env={**front.env, "IPYTHONDIR": front.path("new")})
    return [said, k.run("get_ipython().ipython_dir"), k.shutdown(), os.path.exists(front.path("new"))]


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


@row("start: on all addresses, by a name, and without a key", **own)
def addresses(front):
    said = []
    for says in ({"ip": "0.0.0.0"}, {"ip": "localhost"}, {"key": b""}, {"signature_scheme": "hmac-sha512"}):
        k = front.start(front.files(**says))
        said.append([k.run("1 + 1"), k.shutdown()])
    return said


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


@row("start: a connection file of a front-end that reads it back", **own)
def rewritten(front):
    """The kernel leaves the file as it was, and removes it at its end or not as it always did."""
    files = front.files()
    k = front.start(files)
    with open(files.path) as f:
        said = sorted(json.load(f))
    mode = oct(os.stat(files.path).st_mode)
    end = k.shutdown()
    return [said, mode, end, os.path.exists(files.path)]


@row("start: messages that were sent before it listened are answered", **own)
def early(front):
    """A front-end connects and asks at once, while the kernel still starts."""
    k = front.start(ready=False)
    asked = k.ask("first = 1; first")
    k.pump("the first answer", lambda: asked.reply is not None)
    status = asked.reply["content"]["status"]
    k.ready()
    return [status, asked.reply["content"]["execution_count"], k.run("first"), k.shutdown()]


@row("start: an environment of the front-end alone", **own)
def bare(front):
    """Almost nothing is set, as in a service."""
    keep = ("HOME", "PATH", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR", "RUNTIMED_NO_START")
    k = front.start(env={n: v for n, v in front.env.items() if n in keep})
    return [
        k.run("import os; {n: v for n, v in os.environ.items() if n != 'JPY_PARENT_PID'}"),
        k.run("!env | grep -v -e ^_= -e ^JPY -e ^PWD -e ^SHLVL"),
        k.shutdown(),
    ]
