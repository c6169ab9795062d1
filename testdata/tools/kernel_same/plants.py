"""plants.py GROUP COMMAND…: starts a kernel that differs in all ways of a group, for kernel_same_selftest.py."""

import os
import resource
import signal
import subprocess
import sys
import tempfile

LIMITS = ["all resource limits", "the limits that a subprocess gets"]
VARIABLES = [f"the environment as {who} sees it" for who in ("Python", "C", "a subprocess")]


def soft(name, value):
    which = getattr(resource, name)
    resource.setrlimit(which, (value, resource.getrlimit(which)[1]))


def environ(name, value):
    os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def descriptor():
    os.set_inheritable(os.open(__file__, os.O_RDONLY), True)


def stdin():
    with tempfile.TemporaryFile() as f:
        f.write(b"not at its end")
        f.seek(0)
        os.dup2(f.fileno(), 0)


def oom():
    with open("/proc/self/oom_score_adj", "w") as f:
        f.write("77")


# What is done to the process before it becomes the kernel, and the rows that must find it.
PROCESS = {
    "niceness": (lambda: os.nice(2), ["niceness, processors and scheduling", "psutil sees the kernel"]),
    "umask": (lambda: os.umask(0o077), ["the umask", "!ulimit and !umask"]),
    "a variable more": (lambda: environ("PLANTED", "1"), VARIABLES),
    "another time zone": (lambda: environ("TZ", "Asia/Kathmandu"), ["the time zone"]),
    "another locale": (lambda: environ("LC_ALL", "POSIX"), ["the locale and text"]),
    "another folder": (lambda: os.chdir(tempfile.gettempdir()), ["the folder it works in", "%cd and %pwd"]),
    "another place for temporary files": (lambda: environ("TMPDIR", "/var/tmp"), ["temporary folders"]),
    "a soft limit": (lambda: soft("RLIMIT_NOFILE", 600), LIMITS),
    "SIGQUIT is ignored": (
        lambda: signal.signal(signal.SIGQUIT, signal.SIG_IGN),
        ["signal dispositions in Python", "signals in a subprocess"],
    ),
    "a file that is left open": (descriptor, ["open files", "what a subprocess inherits of open files"]),
    "another stdin": (stdin, ["stdin is at its end"]),
}
if sys.platform == "linux":
    PROCESS["a blocked signal"] = (
        lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2}),
        ["signals that are ignored, blocked and caught"],
    )
    one = "niceness, processors and priorities of its threads"
    PROCESS["one processor"] = (lambda: os.sched_setaffinity(0, {0}), [one])
    PROCESS["an OOM score"] = (oom, ["the OOM score and the control group"])
WITHOUT = {  # variables that do not arrive
    "PYTHONHASHSEED": ["hashes by PYTHONHASHSEED"],
    "PYTHONPATH": ["a module from PYTHONPATH"],
    "PYTHONUNBUFFERED": ["argv, flags and paths of Python"],
    "PYTHONFAULTHANDLER": ["settings of the interpreter"],
    "LC_ALL": ["the locale and text"],
    "IPYTHONDIR": ["what the profile's files and the arguments have set", "the settings of IPython and the kernel"],
    "PYTHONSTARTUP": ["what PYTHONSTARTUP has set"],
    "MPLBACKEND": ["matplotlib's backend"],
    "TZ": ["the time zone"],
}
# What is done in the kernel before the first cell.
INSIDE = {
    "import gc; gc.disable()": ["settings of the interpreter"],
    "import sys; sys.setrecursionlimit(2999)": ["settings of the interpreter"],
    "import threading; t = threading.Thread(target=threading.Event().wait, daemon=True); t.start()": ["its threads"],
    "import sys; sys.excepthook = print": ["importers and hooks of Python"],
    "import sys; sys.path.append('/planted')": ["argv, flags and paths of Python"],
    "import sys; sys.modules.pop('timeit')": ["the modules that are imported"],
    "import warnings; warnings.simplefilter('ignore')": ["warnings and logging", "warnings"],
    "import logging; logging.root.setLevel(10)": ["warnings and logging", "logging"],
    "import builtins; builtins.planted = 1": ["the names in builtins"],
    "planted = 1": ["the module __main__"],
    "import signal; x = signal.signal(signal.SIGUSR1, signal.SIG_IGN)": ["signal dispositions in Python"],
    "import sys; sys.__stdout__.reconfigure(errors='replace')": ["the standard streams"],
    "import multiprocessing; multiprocessing.set_start_method('spawn')": ["asyncio, multiprocessing and selectors"],
    "import asyncio; asyncio.get_event_loop().set_debug(True)": ["asyncio, multiprocessing and selectors"],
    "import os; os.environ['PLANTED'] = '1'": VARIABLES,
    "import os; x = os.umask(0o077)": ["the umask"],
    "ip = get_ipython(); ip.Completer.use_jedi = False": ["the settings of IPython and the kernel", "completion"],
    "import builtins; builtins.print = lambda *a, **k: None": ["print", "threads print"],
    "ip.kernel.implementation_version = 'planted'": ["what the kernel is"],
    "import numpy; x = numpy.set_printoptions(precision=2)": ["numpy", "numpy's settings"],
    "x = ip.kernel.comm_manager.register_target('echo', print); ip.kernel.comm_manager.register_target = print": [
        "a comm that the front-end opens"
    ],
    "ip.history_manager.enabled = False": ["the history of the session"],
    "ip.run_line_magic('xmode', 'Minimal')": ["an error in nested functions"],
    "ip.kernel.raw_input = lambda prompt='': 'planted'; __builtins__.input = ip.kernel.raw_input": ["input"],
}
RANDOM = {
    "import random, numpy; random.seed(1); numpy.random.seed(1)": [
        "two kernels: the history goes on, and nothing random is the same"
    ]
}
QUIET = {"(stdout goes elsewhere)": ["start: what is written goes to the front-end's pipes, in order"]}
PARENT = {  # a parent that neither passes on signals nor how the kernel ended
    "(a parent that passes nothing on)": [
        "end: os._exit(3)",
        "end: a kill by itself",
        "end: SIGKILL to the group, with children",
        "end: SIGTERM to the group, with children",
        "stop: a loop",
        "signals of a front-end reach the kernel",
    ]
}
RESTART = {"(no restart)": ["restart: all is new but what was installed"]}

GROUPS = {
    "process": {n: rows for n, (_, rows) in PROCESS.items()},
    "without": WITHOUT,
    "inside": INSIDE,
    "random": RANDOM,
    "quiet": QUIET,
    "parent": PARENT,
    "restart": RESTART,
}


def become(argv):
    os.execvp(argv[0], argv)


def restarted(argv):
    """Forgets what was installed: the second start with a connection file sees none of it."""
    mark = argv[argv.index("-f") + 1] + ".seen"
    if os.path.exists(mark):
        os.environ["PYTHONPATH"] = ""
        argv = [argv[0], "-S", *argv[1:]]
    open(mark, "w").close()
    become(argv)


def main(group, *argv):
    argv = list(argv)
    if group == "process":
        for act, _ in PROCESS.values():
            act()
    elif group == "without":
        for name in WITHOUT:
            environ(name, None)
    elif group in ("inside", "random"):
        argv += ["--IPKernelApp.exec_lines=" + code for code in GROUPS[group]]
    elif group == "quiet":
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    elif group == "restart":
        restarted(argv)
    elif group == "parent":
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        subprocess.call(argv, start_new_session=True)
        sys.exit(0)
    become(argv)


if __name__ == "__main__":
    main(*sys.argv[1:])
