"""The stop button: SIGINT to the kernel's group in whatever a cell does, and the message that means the same."""

import signal

from .normal import without_times
from .start import Hang
from .table import STOPS, row

button = {"scene": STOPS, "limit": 60.0}

# Each calls runs() when it is about to do what it is named for, and never ends by itself in the time that a row has.
RUNNING = {
    "sleep": "import time; runs(); time.sleep(100)",
    "a loop": "runs()\nwhile True: pass",
    "native code that holds the GIL": "import re; runs(); re.match(r'(a+)+$', 'a' * 34 + 'b')",
    "native code that looks for no signal": "runs(); x = sum(range(3 * 10**7))\nwhile True: pass",
    "native code without the GIL": """
import hashlib
runs()
while True: hashlib.pbkdf2_hmac('sha256', b'a', b'b', 200_000)
""",
    "numpy": "import numpy as np; a = np.ones((600, 600)); runs()\nwhile True: a = (a @ a) / 600",
    "a lock": "import threading; lock = threading.Lock(); lock.acquire(); runs(); lock.acquire()",
    "a queue": "import queue; runs(); queue.Queue().get()",
    "a socket": "import socket; a, b = socket.socketpair(); runs(); a.recv(1)",
    "select": "import select; runs(); select.select([], [], [])",
    "a thread that is waited for": """
import threading
done = threading.Event(); t = threading.Thread(target=done.wait); t.start(); runs()
try: t.join()
finally: done.set()
""",
    "a subprocess": "import subprocess; runs(); subprocess.run(['sleep', '100'])",
    "%%time": "%%time\nruns()\nwhile True: pass",
    "a finally": "try:\n  runs()\n  while True: pass\nfinally: print('cleaned up')",
    "an except": "try:\n  runs()\n  while True: pass\nexcept KeyboardInterrupt: print('caught')",
    "a file of the cell's": "import os; r, w = os.pipe(); runs(); os.read(r, 1)",
    "a statement of sqlite": """
import sqlite3
runs()
q = 'with recursive c(x) as (select 1 union all select x + 1 from c) select sum(x) from (select x from c limit 99999)'
while True: sqlite3.connect(':memory:').execute(q).fetchall()
""",
}


def after(k, outcome):
    """What is left of an outcome: the line that it stopped in is a matter of chance."""
    reply = outcome["reply"]
    said = without_times(outcome.get("stdout", ""))
    kept = {"reply": [reply["status"], reply.get("ename"), reply.get("evalue")], "stdout": said}
    return [kept, k.run("1 + 1")]


def stop(k, begin, press=lambda k: k.process.interrupt()):
    """Presses the button once. A signal that comes between Python's look for one and the system's call waits there."""
    for _ in range(3):
        asked = begin()
        press(k)
        try:
            k.pump("the end of the cell", asked.done, 8)
        except Hang:
            press(k)
            k.pump("the end of the cell", asked.done)
        else:
            return after(k, k.outcome(asked))
    return "three cells went on after the first interrupt"


def stopping(code, press=lambda k: k.process.interrupt()):
    return lambda k: stop(k, lambda: k.begin(code.strip()), press)


def says_runs(code):
    def begin(k):
        asked = k.ask(code)
        k.until_says(asked, "runs")
        return asked

    return lambda k: stop(k, lambda: begin(k))


def and_wake(k):
    """The loop sees the signal when it wakes."""
    k.process.interrupt()
    k.send("kernel_info_request", {})


def alone(k):
    k.process.signal(signal.SIGINT, group=False)


for what, code in RUNNING.items():
    row("stop: " + what, **button)(stopping(code))
row("stop: an await at the top", **button)(stopping("import asyncio; runs(); await asyncio.sleep(100)", and_wake))
row("stop: to the process alone", **button)(stopping(RUNNING["a loop"], alone))
row("stop: a shell command", **button)(says_runs("!echo runs; sleep 100"))
row("stop: %%bash", **button)(says_runs("%%bash\ntrap 'exit 7' INT\necho runs\nwhile :; do sleep 0.1; done"))


@row("stop: nothing runs", **button)
def idle(k):
    for _ in range(3):
        k.process.interrupt()
    return k.run("1 + 1")


@row("stop: input", **button)
def waiting_input(k):
    asked = k.ask("input('who? ')", stdin=True)
    k.pump("the question", lambda: asked.prompts)
    k.process.interrupt()
    reply = k.outcome(asked)["reply"]
    return [reply["ename"], k.run("1 + 1")]  # ipykernel says "Interrupted by user" where it waits already


@row("stop: the message", **button)
def message(k):
    said = []
    for code in (RUNNING["sleep"], RUNNING["a loop"]):
        asked = k.begin(code)
        said.append([k.control("interrupt_request", {}), after(k, k.outcome(asked))])
    return said


@row("stop: ten in a row", **button)
def many(k):
    said = []
    for _ in range(10):
        asked = k.begin(RUNNING["a loop"])
        k.process.interrupt()
        said.append(k.outcome(asked)["reply"].get("ename"))
    return [said, k.run("1 + 1")]


@row("stop: the cells that wait are not run", **button)
def queued(k):
    late = "import time\ntry:\n  runs()\n  while True: pass\nfinally: time.sleep(1)"  # the other has come by then
    first, second = k.begin(late), k.ask("ran = True")
    k.process.interrupt()
    return [k.outcome(first)["reply"]["ename"], k.outcome(second)["reply"]["status"], k.run("'ran' in globals()")]


@row("stop: a handler of the cell", **button)
def handler(k):
    k.run("import signal, threading\ngot = threading.Event()")
    asked = k.begin("old = signal.signal(signal.SIGINT, lambda *a: got.set()); runs(); got.wait(20)")
    k.process.interrupt()
    return [k.outcome(asked), k.run("_ = signal.signal(signal.SIGINT, signal.default_int_handler)")]


@row("stop: a child of the kernel hears it too", **button)
def child(k):
    script = "trap 'echo heard; exit 0' INT; echo ready; while :; do sleep 0.05; done"
    k.run(
        f"import subprocess\nc = subprocess.Popen(['sh', '-c', {script!r}], stdout=-1, text=True)\nc.stdout.readline()"
    )
    asked = k.begin("try: runs(); c.wait()\nexcept KeyboardInterrupt: print('and me')\nc.stdout.read()")
    k.process.interrupt()
    return [k.outcome(asked), k.run("c.wait()")]


@row("stop: a child in a session of its own does not", **button)
def detached(k):
    k.run("import subprocess\nc = subprocess.Popen(['sleep', '100'], start_new_session=True)")
    asked = k.begin(RUNNING["a loop"])
    k.process.interrupt()
    return [k.outcome(asked)["reply"]["ename"], k.run("c.poll()"), k.run("c.kill(); c.wait()")]


@row("signals of a front-end reach the kernel", **button)
def passed_on(k):
    names = [
        "SIGHUP",
        "SIGQUIT",
        "SIGUSR1",
        "SIGUSR2",
        "SIGTERM",
        "SIGALRM",
        "SIGVTALRM",
        "SIGWINCH",
        "SIGCONT",
        "SIGIO",
    ]
    k.run(f"import signal\nnames = {names}\ncame = []")
    k.run("old = [signal.signal(getattr(signal, n), lambda s, f: came.append(signal.Signals(s).name)) for n in names]")
    for name in names:
        k.process.signal(getattr(signal, name))
        k.run(f"import time\nfor _ in range(200):\n  if {name!r} in came: break\n  time.sleep(0.01)", silent=True)
    k.run("for n, o in zip(names, old): _ = signal.signal(getattr(signal, n), o)")
    return k.run("came")
