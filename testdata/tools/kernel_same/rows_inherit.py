"""What a process gets from whoever starts it, and what Python makes of that. Each function runs in the kernel."""

from .normal import differences
from .table import PYTHON, UNUSUAL, USUAL, cell, probe


def names_judge(plain, standby):
    """All that the plain one has imported is there; what the other has beyond that is shown only."""
    if not isinstance(plain, dict) or not isinstance(standby, dict) or "names" not in plain or "names" not in standby:
        return differences(plain, standby)
    missing = sorted(set(plain["names"]) - set(standby["names"]))
    found = [("missing", "(all imported)", " ".join(missing))] if missing else []
    return found + differences(plain["roots"], standby["roots"], "roots")


@probe("the modules that are imported", judge=names_judge)
def modules():
    import sys

    return {"names": list(sys.modules), "roots": {}, "look: more": list(sys.modules)}


@probe("the folder it works in")
def folder():
    import os
    import pathlib

    return [os.getcwd(), str(pathlib.Path().resolve()), os.environ.get("PWD"), os.environ.get("OLDPWD")]


@probe("the environment as Python sees it")
def environment():
    import os

    return dict(os.environ)


@probe("the environment as C sees it")
def c_environment():
    import ctypes
    import os

    got = ctypes.CDLL(None).getenv
    got.restype = ctypes.c_char_p
    return {k: (got(os.fsencode(k)) or b"").decode(errors="backslashreplace") for k in os.environ}


@probe("the environment as a subprocess sees it")
def subprocess_environment():
    import subprocess

    data = subprocess.run(["env", "-0"], capture_output=True, check=True).stdout
    pairs = data.decode(errors="backslashreplace").split("\0")
    return {pair.partition("=")[0]: pair.partition("=")[2] for pair in pairs if pair and pair[:2] != "_="}


@probe("the order and the type of the environment", scenes=(USUAL,))
def environment_order():
    import os

    return {"look: order": list(os.environ), "type": [str(t) for t in type(os.environ).__mro__]}


@probe("the umask")
def umask():
    import os
    import stat
    import tempfile

    mask = os.umask(0)
    os.umask(mask)
    with tempfile.TemporaryDirectory() as d, open(d + "/x", "w") as f:
        return [oct(mask), oct(stat.S_IMODE(os.fstat(f.fileno()).st_mode))]


@probe("all resource limits")
def limits():
    import resource

    return {n: resource.getrlimit(getattr(resource, n)) for n in dir(resource) if n.startswith("RLIMIT_")}


@probe("the limits that a subprocess gets")
def subprocess_limits():
    import subprocess

    return [subprocess.run(["sh", "-c", "ulimit -a; ulimit -aH"], capture_output=True, text=True).stdout]


@probe("niceness, processors and scheduling")
def scheduling():
    import os

    if not hasattr(os, "sched_getaffinity"):
        return [os.getpriority(os.PRIO_PROCESS, 0)]
    policy, param = os.sched_getscheduler(0), os.sched_getparam(0)
    return [os.getpriority(os.PRIO_PROCESS, 0), sorted(os.sched_getaffinity(0)), policy, param.sched_priority]


@probe("input and output priority")
def ionice():
    import psutil

    return str(psutil.Process().ionice()) if hasattr(psutil.Process, "ionice") else None


@probe("niceness, processors and priorities of its threads")
def thread_scheduling():
    import os
    import sys

    if sys.platform != "linux":
        return None
    tasks = [int(t) for t in os.listdir("/proc/self/task")]
    return sorted(
        {
            (os.getpriority(os.PRIO_PROCESS, t), *sorted(os.sched_getaffinity(t)), os.sched_getscheduler(t))
            for t in tasks
        }
    )


@probe("its session, its group and its terminal")
def session():
    import os

    try:
        tty = os.open("/dev/tty", os.O_RDWR)
    except OSError as e:
        tty = e.errno
    return [os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid(), tty, [os.isatty(n) for n in range(3)]]


@probe("users, groups and capabilities")
def status():
    import os
    import sys

    ids = [os.getresuid(), os.getresgid(), os.getgroups()] if hasattr(os, "getresuid") else [os.getuid(), os.getgid()]
    if sys.platform != "linux":
        return ids
    keep = ("Umask", "Uid", "Gid", "Groups", "Cap", "NoNewPrivs", "Seccomp", "Spec", "Cpus", "Mems", "THP", "NSsid")
    with open("/proc/self/status") as f:
        return ids + [line for line in f if line.startswith(keep) and "NSsid" not in line]


@probe("signal dispositions in Python")
def dispositions():
    import signal

    return {str(int(n)): str(signal.getsignal(n)) for n in signal.valid_signals()}


@probe("signals that are ignored, blocked and caught")
def signals():
    import signal
    import sys

    if sys.platform != "linux":
        return sorted(int(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK, []))
    with open("/proc/self/status") as f:
        return [line for line in f if line.startswith(("SigIgn", "SigBlk", "SigCgt"))]


@probe("signals in a subprocess")
def subprocess_signals():
    import subprocess
    import sys

    if sys.platform != "linux":
        return None
    out = subprocess.run(["grep", "Sig[IBC]", "/proc/self/status"], capture_output=True, text=True)
    kept = subprocess.run(
        ["grep", "Sig[IBC]", "/proc/self/status"], capture_output=True, text=True, restore_signals=False
    )
    return [out.stdout, kept.stdout]


@probe("the OOM score and the control group")
def oom():
    import sys

    if sys.platform != "linux":
        return None
    result = {}
    for name in ("oom_score_adj", "cgroup", "loginuid", "sessionid", "personality", "timerslack_ns", "coredump_filter"):
        try:
            with open("/proc/self/" + name) as f:
                result[name] = f.read()
        except OSError as e:
            result[name] = str(e)
    return result


@probe("its namespaces")
def namespaces():
    import os
    import sys

    if sys.platform != "linux":
        return None
    return {name: os.readlink("/proc/self/ns/" + name) for name in os.listdir("/proc/self/ns")}


@probe("its root folder and its parent")
def root():
    import os
    import sys

    parent = {"look: parent": str(os.getppid())}
    return [parent, os.readlink("/proc/self/root"), os.stat("/").st_ino] if sys.platform == "linux" else [parent]


@probe("open files")
def descriptors():
    import contextlib
    import os
    import re

    if not os.path.isdir("/proc/self/fd"):
        return None
    found = {}
    for fd in sorted(map(int, os.listdir("/proc/self/fd"))):
        with contextlib.suppress(OSError):  # that of the listing
            found[fd] = re.sub(r":\[?\d+\]?$", "", os.readlink(f"/proc/self/fd/{fd}"))
    files = sorted(t for t in found.values() if t.startswith("/") and not t.startswith("/proc/"))
    kinds = [t if not t.startswith("/") else "a file" for t in found.values()]
    return {
        "the first three": [found.get(n) for n in range(3)],
        "files": files,
        "inherited by children": [[fd, t] for fd, t in found.items() if fd > 2 and os.get_inheritable(fd)],
        "look: kinds": {k: kinds.count(k) for k in sorted(set(kinds))},
    }


@probe("what a subprocess inherits of open files")
def subprocess_descriptors():
    import re
    import subprocess

    script = "for f in /proc/self/fd/*; do echo $f $(readlink $f); done"
    out = subprocess.run(["sh", "-c", script], close_fds=False, capture_output=True, text=True).stdout
    return re.sub(r":\[?\d+\]?\n", "\n", out)


@probe("argv, flags and paths of Python")
def python():
    import sys

    names = "argv orig_argv path executable prefix base_prefix exec_prefix warnoptions _xoptions dont_write_bytecode"
    names += " platlibdir pycache_prefix byteorder maxsize version platform implementation float_repr_style"
    result = {n: getattr(sys, n, None) if n != "implementation" else str(sys.implementation) for n in names.split()}
    result["_base_executable"] = getattr(sys, "_base_executable", None)
    return {**result, "flags": str(sys.flags)}


@probe("importers and hooks of Python")
def hooks():
    import sys
    import threading

    names = "excepthook unraisablehook displayhook breakpointhook __excepthook__ __displayhook__"
    result = {n: str(getattr(sys, n)) for n in names.split()}
    result.update(meta_path=[str(m) for m in sys.meta_path], path_hooks=[str(h) for h in sys.path_hooks])
    result.update(thread=str(threading.excepthook), trace=str(sys.gettrace()), profile=str(sys.getprofile()))
    result.update(asyncgen=str(sys.get_asyncgen_hooks()), tracing=str(threading._trace_hook))
    monitoring = getattr(sys, "monitoring", None)
    result["tools"] = [monitoring.get_tool(n) for n in range(6)] if monitoring else []
    return result


@probe("settings of the interpreter")
def settings():
    import faulthandler
    import gc
    import sys
    import tracemalloc

    return {
        "gc": [gc.isenabled(), gc.get_threshold(), gc.get_debug(), len(gc.callbacks), len(gc.garbage)],
        "recursion": sys.getrecursionlimit(),
        "switch": sys.getswitchinterval(),
        "faulthandler": faulthandler.is_enabled(),
        "tracemalloc": tracemalloc.is_tracing(),
        "dlopen": sys.getdlopenflags(),
        "digits": getattr(sys, "get_int_max_str_digits", int)(),
        "look: frozen": gc.get_freeze_count(),
    }


@probe("how deep it may recurse")
def depth():
    def deeper(n):
        try:
            return deeper(n + 1)
        except RecursionError:
            return n

    return {"look: depth": deeper(0)}


@probe("the standard streams")
def streams():
    import sys

    found = {}
    for name in ("stdin", "stdout", "stderr", "__stdin__", "__stdout__", "__stderr__"):
        s = getattr(sys, name)
        attributes = "name mode encoding errors line_buffering write_through newlines closed"
        found[name] = [str(type(s)), *(str(getattr(s, a, None)) for a in attributes.split()), s.isatty()]
        try:
            found[name].append(min(s.fileno(), 3))  # the copies that ipykernel makes have any number
        except Exception as e:
            found[name].append(repr(e))
        buffer = getattr(s, "buffer", None)
        found[name] += [type(buffer).__name__, type(getattr(buffer, "raw", None)).__name__]
    return found


@probe("the locale and text")
def text():
    import locale
    import sys

    return [
        locale.setlocale(locale.LC_ALL, None),
        locale.getlocale(),
        locale.getpreferredencoding(),
        sys.getfilesystemencoding(),
        sys.getfilesystemencodeerrors(),
        sys.getdefaultencoding(),
        {k: str(v) for k, v in locale.localeconv().items()},
    ]


@probe("the time zone")
def zone():
    import datetime
    import time

    fixed = datetime.datetime.fromtimestamp(1_700_000_000).astimezone()
    return [time.tzname, time.timezone, time.daylight, fixed.isoformat(), time.strftime("%c %Z", time.localtime(0))]


@probe("folders for temporary files, the user and the cache")
def folders():
    import os
    import tempfile

    from IPython.paths import get_ipython_cache_dir, get_ipython_dir
    from jupyter_core.paths import jupyter_data_dir, jupyter_runtime_dir

    found = [tempfile.gettempdir(), os.path.expanduser("~"), get_ipython_dir(), get_ipython_cache_dir()]
    return [*found, jupyter_data_dir(), jupyter_runtime_dir()]


@probe("its threads")
def threads():
    import threading

    # The connection to the caller takes the place of the thread that looks for the parent.
    names = [[t.name, t.daemon, str(type(t))] for t in threading.enumerate() if "ParentPoller" not in str(type(t))]
    return {"names": names, "size": threading.stack_size()}


@probe("threads that the system counts")
def tasks():
    import os

    if not os.path.isdir("/proc/self/task"):
        return None
    comms = []
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/comm") as f:
            comms.append(f.read().strip())
    return {"look: threads": sorted(comms)}


@probe("the name and the command line of its process")
def process():
    import os

    if not os.path.isdir("/proc/self"):
        return None
    with open("/proc/self/cmdline") as f, open("/proc/self/comm") as c:
        line, comm = f.read().split("\0"), c.read()
    return {"exe": os.readlink("/proc/self/exe"), "look: command line": line, "look: name": comm}


@probe("warnings and logging")
def logs():
    import logging
    import warnings

    manager = logging.Logger.manager
    return {
        "filters": [str(f) for f in warnings.filters],
        "show": str(warnings.showwarning),
        "root": [logging.root.level, [str(h) for h in logging.root.handlers], manager.disable],
        "handlers": {
            name: [logger.level, logger.propagate, [type(h).__name__ + str(h.level) for h in logger.handlers]]
            for name, logger in sorted(manager.loggerDict.items())
            if getattr(logger, "handlers", None) or getattr(logger, "level", 0)
        },
        "captured": logging._warnings_showwarning is not None,
    }


@probe("asyncio, multiprocessing and selectors")
def loops():
    import asyncio
    import multiprocessing
    import selectors
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        policy = str(type(asyncio.get_event_loop_policy()))
    try:
        loop = asyncio.get_running_loop()
        running = [str(type(loop)), loop.get_debug(), str(type(loop._selector)), str(loop.get_exception_handler())]
    except RuntimeError as e:
        running = str(e)
    contexts = [multiprocessing.get_start_method(allow_none=True), multiprocessing.get_all_start_methods()]
    main = multiprocessing.current_process()
    names = [main.name, main.daemon, main.authkey is not None, multiprocessing.parent_process() is None]
    return [policy, running, contexts, names, str(selectors.DefaultSelector)]


@probe("the module __main__")
def main():
    import sys

    m = sys.modules["__main__"]
    found = {k: str(type(v)) for k, v in vars(m).items() if not k.startswith(("_", "In", "Out")) or k[:2] == "__"}
    about = [m.__name__, m.__doc__, str(m.__spec__), str(m.__loader__), m.__package__, hasattr(m, "__file__")]
    return {"holds": sorted(found), "about": about, "type": str(type(m)), "builtins": str(m.__builtins__)}


@probe("the names in builtins")
def names():
    import builtins

    ours = "display get_ipython __IPYTHON__ exit quit open input print help copyright breakpoint"
    return [sorted(vars(builtins)), {n: str(getattr(builtins, n, None)) for n in ours.split()}]


@probe("how Python shuts down")
def shutdown():
    import atexit
    import os
    import threading

    return {
        "look: atexit": atexit._ncallbacks(),
        "look: threading": len(threading._threading_atexits),
        "pid": os.getpid() > 0,
    }


@probe("the settings of IPython and the kernel")
def configuration():
    from ipykernel.kernelapp import IPKernelApp
    from IPython import get_ipython

    ip, app = get_ipython(), IPKernelApp.instance()
    skip = ("parent_handle", "shell_port iopub_port stdin_port control_port hb_port")
    kernel = ip.kernel
    told = {}
    for owner in (app, ip, kernel, ip.Completer, ip.history_manager, kernel.session):
        values = owner.trait_values(config=True)
        hidden = ("key", "keyfile", "session", "log_level_", *skip[1].split(), skip[0], "curve_secretkey")
        told[type(owner).__name__] = {k: str(v) for k, v in values.items() if k not in hidden}
    files = [app.connection_file, app.profile_dir.location, ip.history_manager.hist_file, app.loaded_config_files]
    more = [sorted(ip.extension_manager.loaded), str(ip.config), str(app.config), app.exec_lines, ip.banner1]
    return [told, files, more, str(app.parent_handle)]


@probe("matplotlib's backend")
def backend():
    import importlib.util
    import os

    if importlib.util.find_spec("matplotlib") is None:
        return "no matplotlib"
    import matplotlib

    return [os.environ.get("MPLBACKEND"), matplotlib.get_backend(), matplotlib.get_cachedir()]


@probe("libraries that are loaded", scenes=(USUAL,))
def libraries():
    import os

    if not os.path.exists("/proc/self/maps"):
        return None
    with open("/proc/self/maps") as f:
        return {"look: libraries": sorted({line.split()[-1] for line in f if ".so" in line})}


cell("what the profile's files and the arguments have set", "from_startup, in_startup, from_config", (UNUSUAL,))
cell("what PYTHONSTARTUP has set", "from_pythonstartup", (UNUSUAL,))
cell("an expression on every line is shown, as the configuration says", "1\n2\n3", (UNUSUAL,))
cell("tracebacks are short, as the configuration says", "def f(): 1 / 0\nf()", (UNUSUAL,))
cell("!env of the front-end's variables", "!env | grep -a -e FROM -e TWO -e ^two -e EMPTY -e TZ -e lower", (UNUSUAL,))
cell("!ulimit and !umask", "!ulimit -Sn; umask; ulimit -Sc; nice", (UNUSUAL, USUAL))
cell("a module from PYTHONPATH", "import from_pythonpath; from_pythonpath.answer", (PYTHON,))
cell("hashes by PYTHONHASHSEED", "hash('a'), list({'a', 'b', 'c', 'd', 'e'})", (PYTHON,))
cell("PYTHONBREAKPOINT", "breakpoint()", (PYTHON,))
cell("threads of OpenBLAS", "import numpy as np; float(np.ones((300, 300)).dot(np.ones((300, 300))).sum())", (PYTHON,))
