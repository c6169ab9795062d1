"""How a kernel ends, and what the next one finds. Each row has kernels of its own."""

import ast
import contextlib
import os
import shlex
import signal
import subprocess

from .rows_cells import own_name, wheel
from .start import wait_end
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
    "a kill by itself": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "a segmentation fault": "import ctypes; ctypes.string_at(1)",
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


def child_may_end(plain, standby):
    """A front-end ends the process group; who kills its leader alone ends that of a standby too, which cannot tell."""
    return [] if plain[0] == standby[0] else [("[0]", plain[0], standby[0])]


@row("end: SIGKILL to the process alone, with children", judge=child_may_end, **own)
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
    said = k.run("_ = os.write(1, b'to the cell and to the front-end')", until="front-end")
    end = [said, k.shutdown()]
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


@row("restart: all is new but what was installed", standby=False, **own)
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


@row("restart: while a cell runs, and after a crash", standby=False, **own)
def restart_busy(front):
    k = front.start()
    k.begin("import time; runs(); time.sleep(0.5)")
    said = [k.restart(), k.run("1 + 1")]
    k.ask("import os; os._exit(1)")
    wait_end(k.process.pid, k.left())
    k.deadline()
    return [*said, k.restart(), k.run("1 + 1")]


@row("two kernels: the history goes on, and nothing random is the same", **own)
def successor(front):
    draw = """
import multiprocessing, numpy, os, random, secrets, tempfile, uuid
values = [random.random(), numpy.random.rand(), str(uuid.uuid4()), hash("a"), secrets.token_hex(), os.urandom(4).hex()]
values += [tempfile.mktemp(), get_ipython().kernel.ident, get_ipython().kernel.session.session]
values += [multiprocessing.current_process().authkey.hex(), numpy.random.default_rng().random()]
"""
    k = front.start()
    k.run("'from the first kernel'")
    k.run("print('with output')")
    k.run(draw)
    first = ast.literal_eval(k.value("values"))
    end = k.shutdown()
    k = front.start()
    asked = {"hist_access_type": "search", "pattern": "*first kernel*", "raw": True, "output": True, "n": 5}
    found = k.request("history_request", asked)
    shown = [k.run("%history -g first"), k.run("%history ~1/1-2"), sorted(os.listdir(front.path("ipython")))]
    k.run(draw)
    second = ast.literal_eval(k.value("values"))
    return [end, found, shown, [a != b for a, b in zip(first, second)]]
