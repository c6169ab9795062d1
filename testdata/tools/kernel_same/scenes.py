"""What a front-end process is like before it starts a kernel, in the scenes that are not the usual one."""

import os
import resource
import shutil
import signal
import subprocess

from .start import LINUX
from .table import OWN, PYTHON, STOPS, UNUSUAL


def lower(name, soft):
    """Lowers a soft limit, as `ulimit -S` does."""
    which = getattr(resource, name, None)
    if which is not None:
        _, hard = resource.getrlimit(which)
        resource.setrlimit(which, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def process():
    """A process with all that a child inherits set to something that a daemon's children do not have."""
    os.umask(0o027)
    os.nice(3)
    lower("RLIMIT_NOFILE", 700)
    lower("RLIMIT_CORE", 4096)
    lower("RLIMIT_AS", 64 << 30)
    lower("RLIMIT_DATA", 48 << 30)
    lower("RLIMIT_FSIZE", 8 << 30)
    lower("RLIMIT_STACK", 6 << 20)
    lower("RLIMIT_MEMLOCK", 32 << 10)
    lower("RLIMIT_SIGPENDING", 5000)
    lower("RLIMIT_MSGQUEUE", 100_000)
    for number in (signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR2):  # nohup ignores one, a shell's & another
        signal.signal(number, signal.SIG_IGN)
    if LINUX:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        with open("/proc/self/oom_score_adj", "r+") as f:
            score = int(f.read())
            f.write(str(min(score + 50, 1000)))
    if shutil.which("ionice"):
        subprocess.run(["ionice", "-c2", "-n7", "-p", str(os.getpid())], check=True)


def unusual(front):
    front.cwd = front.path("work", "a folder é with spaces")
    os.makedirs(front.cwd)
    for name, value in {
        "TZ": "Australia/Eucla",
        "JPY_SESSION_NAME": "/home/me/a notebook.ipynb",
        "FROM_THE_FRONT_END": "1",
        "EMPTY": "",
        "TWO_LINES": "one\ntwo",
        "NOT_UTF8": os.fsdecode(b"\xff\xfe"),
        "LONG": "x" * 100_000,
        "lower.case with spaces": "yes",
        "MPLBACKEND": "agg",
        "COLUMNS": "100",
        "TERM": "dumb",
        "PAGER": "cat",
        "EDITOR": "false",
        "http_proxy": "http://127.0.0.1:1",
        "PYTHONSTARTUP": front.write("startup.py", "from_pythonstartup = __name__\n"),
    }.items():
        front.setenv(name, value)
    front.env.pop("LOGNAME", None)
    front.write("ipython/profile_default/startup/00-first.py", "from_startup = __name__\n")
    front.write("ipython/profile_default/startup/50-second.ipy", "in_startup = %env FROM_THE_FRONT_END\n")
    front.write(
        "ipython/profile_default/ipython_kernel_config.py",
        "c.IPKernelApp.exec_lines = ['from_config = 1']\nc.InteractiveShell.ast_node_interactivity = 'all'\n"
        "c.InteractiveShell.xmode = 'Minimal'\nc.IPCompleter.use_jedi = False\n",
    )
    front.write("ipython/profile_default/ipython_config.py", "c.InteractiveShellApp.extensions = ['autoreload']\n")
    front.args = ["--IPKernelApp.matplotlib=inline", "--Session.username=the front-end"]


def variables(front):
    for name, value in {
        "PYTHONHASHSEED": "123",
        "PYTHONPATH": front.path("extra"),
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "always::UserWarning",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONFAULTHANDLER": "1",
        "PYTHONBREAKPOINT": "0",
        "PYTHONMALLOC": "malloc",
        "LC_ALL": "C",
        "LANG": "de_DE.UTF-8",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "1",
    }.items():
        front.setenv(name, value)
    front.write("extra/from_pythonpath.py", "answer = 42\n")
    front.write("extra/usercustomize.py", "import builtins\nbuiltins.customized = True\n")


def blocked():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGWINCH})  # goes through exec as what is ignored does


def no_core():
    """Rows that end a kernel by a signal leave no core file."""
    lower("RLIMIT_CORE", 0)


PREPARE = {UNUSUAL: process, PYTHON: blocked, STOPS: no_core, OWN: no_core}  # the process itself
DRESS = {UNUSUAL: unusual, PYTHON: variables}  # what it gives to its kernels
