# Waits for one order, and becomes the kernel that it describes. docs/protocol.md has the order, and what must be equal.
import array
import atexit
import builtins
import fcntl
import functools
import gc
import re
import resource
import select
import socket
import stat
import struct
import threading

LIFELINE = 4  # a socket to the daemon: when that ends, so does an unused standby
MOST_ORDER = 8 << 20  # bytes
MOST_CALLERS = 64  # at once
PATIENCE = 5.0  # seconds, for the rest of an order

# Python, the C library, or a library when it is loaded, reads these once.
AT_START = (
    "PYTHON", "LD_", "DYLD_", "MALLOC_", "GLIBC_TUNABLES", "LANG", "LC_", "OMP_", "KMP_", "GOMP_", "MKL_", "OPENBLAS_",
    "GOTO_", "BLIS_", "VECLIB_", "NUMEXPR_", "CUDA_", "NVIDIA_", "HIP_", "ROCR_", "TORCH_", "PYTORCH_", "XLA_", "TF_",
    "OPENSSL_", "NCCL_", "TBB_", "NPY_", "HDF5_", "ARROW_", "POLARS_", "RAYON_", "OPENCV_", "OMPI_", "UCX_",
    "MIMALLOC_", "GDAL_", "PROJ_",
)
# Python and the linker resolve what these name against the folder that they start in.
AGAINST_CWD = ("PYTHONPATH", "PYTHONUSERBASE", "PYTHONPYCACHEPREFIX", "LD_PRELOAD", "LD_LIBRARY_PATH")
# An import reads these, and a kernel is the same whatever they are: PATH is where uname is looked for; TERM decides how
# a terminal's title is set; the kernel's parent is watched by its connection.
NO_MATTER = {"PATH", "TERM", "JPY_PARENT_PID", "JPY_INTERRUPT_EVENT"}
# A scheduler ends the processes of a batch job by what it started, and counts what they use.
BATCH = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "FLUX_JOB_ID", "OAR_JOB_ID", "COBALT_JOBID")
RIGHTS = (
    "Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp",
    "Seccomp_filters", "Mems_allowed",
)
NO_LIMIT = {
    "memory.max": "max", "memory.high": "max", "memory.swap.max": "max", "memory.swap.high": "max", "pids.max": "max",
    "cpu.max": "max", "cpu.weight": "100", "cpu.idle": "0", "cpuset.cpus": "", "cpuset.mems": "", "io.max": "",
    "io.weight": "default 100",
}


made = {}  # the variables that imports ahead have set
ahead = set()  # the modules that they have brought
plain_environ = type(os.environ).__mro__[1]  # without the record


class Refused(Exception):
    """Why the caller must start a plain kernel. wanted: the variables that the next standby should start with."""

    def __init__(self, why, wanted=None):
        super().__init__(why)
        self.wanted = wanted or {}


def tell(**what):
    answer.write(json.dumps(what) + "\n")
    answer.flush()


def variables():
    """The variables, without a record that they were read."""
    recorder, os.environ.__class__ = os.environ.__class__, plain_environ
    try:
        return dict(os.environ)
    finally:
        os.environ.__class__ = recorder


def stand_in(shell, called):
    """What get_ipython returns to a module that only asks on import whether it is in a kernel, as pandas does.

    It has what is the same in every kernel. Whatever else it is asked for, it notes in called.
    """

    class Part:
        def __init__(self, **has):
            self.__dict__.update(has)

        def __bool__(self):
            return True

        def __contains__(self, name):
            return name == "IPKernelApp" or self.note()

        def note(self, *_):
            called.append(1)
            raise AttributeError("there is no kernel yet")

        __getattr__ = __setattr__ = __delattr__ = __getitem__ = __setitem__ = __delitem__ = __call__ = note
        __iter__ = __len__ = note

    kind = type(shell.__name__, (Part,), {"__module__": shell.__module__, "__class__": shell})
    return kind(kernel=Part(), config=Part())


def preload(modules):
    """Imports what a pool's first cells will, with what they would find in a kernel.

    Returns what went wrong, and the module that makes this process useless.
    """
    import IPython.core.getipython
    from ipykernel.zmqshell import ZMQInteractiveShell

    before, called, known, ended = variables(), [], set(sys.modules), []
    ZMQInteractiveShell.init_environment(None)  # what it sets is not the caller's to decide
    kernels = variables()
    NO_MATTER.update(name for name in kernels if kernels[name] != before.get(name))
    if not kernels.get("MPLBACKEND"):
        os.environ["MPLBACKEND"] = kernels["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    builtins.__IPYTHON__ = True
    plain, ahead_of = IPython.core.getipython.get_ipython, stand_in(ZMQInteractiveShell, called)

    @functools.wraps(plain)
    def get_ipython():
        return plain() if ended else ahead_of  # a module may keep this one

    faults = []
    for name in modules:
        del called[:]
        IPython.get_ipython = IPython.core.getipython.get_ipython = builtins.get_ipython = get_ipython
        try:
            __import__(name)
        except BaseException as error:  # also a script that ends itself
            faults.append(f"{name} cannot be imported: {type(error).__name__}: {error}")
        finally:
            IPython.get_ipython = IPython.core.getipython.get_ipython = plain
        if called:
            return [f"{name} uses on import the kernel that it runs in, so it cannot be imported ahead"], name
    ended.append(1)
    del builtins.__IPYTHON__
    if modules:
        del builtins.get_ipython
    made.update((name, value) for name, value in variables().items() if value != kernels.get(name))
    ahead.update(name.partition(".")[0] for name in set(sys.modules) - known)
    os.environ.clear()
    os.environ.update(before)
    return faults, ""


def receive(connection, size, descriptors=0):
    """One recvmsg. Descriptors that came with it are appended to the list."""
    flags = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
    data, ancillary, _, _ = connection.recvmsg(size, socket.CMSG_SPACE(descriptors * 4) if descriptors else 0, flags)
    got = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            got.frombytes(payload[: len(payload) - len(payload) % got.itemsize])
    for descriptor in got:
        os.set_inheritable(descriptor, False)
    return data, list(got)


def is_text(value):
    """Whether it can be an argument, a variable or a path."""
    try:
        return isinstance(value, str) and b"\0" not in os.fsencode(value)
    except UnicodeError:
        return False


def are(kind, values):
    """Whether values is a list of such."""
    return isinstance(values, list) and all(is_text(v) if kind is str else type(v) is kind for v in values)


def is_order(order, descriptors):
    """Whether it is what docs/protocol.md describes."""
    if not isinstance(order, dict) or order.get("order") != 1:
        return False
    limits, release, others = order.get("limits"), order.get("release"), order.setdefault("descriptors", [])
    return (
        all(are(str, order.get(name)) for name in ("argv", "environ", "listening"))
        and are(int, others)
        and len({*others, 0, 1, 2}) == 3 + len(others)
        and min(others, default=0) >= 0
        and len(descriptors) == 3 + len(order["listening"]) + len(others)
        and is_text(order.get("cwd"))
        and all(type(order.get(name)) is int for name in ("umask", "nice"))
        and are(int, order.get("ignored"))
        and isinstance(limits, dict)
        and all(isinstance(pair, list) and len(pair) == 2 for pair in limits.values())
        and all(number is None or type(number) is int for pair in limits.values() for number in pair)
        and (release is None or isinstance(release, dict) and all(is_text(release.get(n)) for n in ("socket", "env")))
    )


class Caller:
    """A connection whose order is not complete."""

    def __init__(self, connection):
        self.connection, self.deadline = connection, time.monotonic() + PATIENCE
        self.data, self.descriptors = b"", []

    def read(self):
        """False if it is to be closed, None if more must come, and else the order."""
        try:
            data, descriptors = receive(self.connection, 1 << 20, 253)  # SCM_MAX_FD
        except BlockingIOError:
            return None
        except OSError:
            return False
        self.data += data
        self.descriptors += descriptors
        if not data or len(self.data) > MOST_ORDER:
            return False
        if not self.data.endswith(b"\n"):
            return None
        try:
            order = json.loads(self.data)
        except (ValueError, RecursionError):
            return False
        return order if is_order(order, self.descriptors) else False

    def close(self):
        self.connection.close()
        for descriptor in self.descriptors:
            os.close(descriptor)


def stranger(connection):
    """Whether another user has connected, which can be where the socket's folder is open to others."""
    if sys.platform != "linux":
        return False
    _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return user not in (0, os.getuid())


def wait(listener):
    """Returns the first complete order, and who sent it. What else connects costs nobody anything."""
    listener.setblocking(False)
    poll, callers = select.poll(), {}
    poll.register(LIFELINE, select.POLLIN)
    poll.register(listener, select.POLLIN)
    while True:
        now = time.monotonic()
        for number in [n for n, c in callers.items() if c.deadline < now]:
            poll.unregister(number)
            callers.pop(number).close()
        least = min((c.deadline - now for c in callers.values()), default=None)
        for number, _ in poll.poll(None if least is None else least * 1000 + 1):
            if number == LIFELINE:
                os._exit(0)
            if number == listener.fileno():
                try:
                    connection, _ = listener.accept()
                except OSError:
                    continue
                connection.setblocking(False)
                if stranger(connection):
                    connection.close()
                    continue
                if len(callers) == MOST_CALLERS:  # whoever has been silent for the longest goes
                    oldest = next(iter(callers))
                    poll.unregister(oldest)
                    callers.pop(oldest).close()
                callers[connection.fileno()] = Caller(connection)
                poll.register(connection, select.POLLIN)
                continue
            if number not in callers:
                continue
            order = callers[number].read()
            if order is None:
                continue
            poll.unregister(number)
            caller = callers.pop(number)
            if order is False:
                caller.close()
                continue
            for other in callers.values():
                other.close()
            caller.connection.setblocking(True)
            return caller, order


def absolute(name, value, cwd):
    """Whether the paths that a variable names are the same ones for this process as for the caller."""
    for path in re.split("[ :]" if name == "LD_PRELOAD" else os.pathsep, value) if value else ():
        if os.path.isabs(path) or name == "LD_PRELOAD" and "/" not in path:
            continue
        if name != "LD_LIBRARY_PATH":
            return False
        try:  # an empty one is common, and counts only beside libraries
            if any(re.search(r"\.so(\.|$)", entry) for entry in os.listdir(os.path.join(cwd, path))):
                return False
        except OSError:
            pass
    return True


def same_variables(variables, cwd):
    """Refuses a caller whose variables this process should have been started with."""
    for name in AGAINST_CWD:
        if not absolute(name, variables.get(name), cwd):
            raise Refused(f"{name} names a folder that depends on where the kernel starts")
    if variables.get("KRB5CCNAME", "").startswith(("KEYRING:session", "KEYRING:process", "KEYRING:thread")):
        raise Refused("its Kerberos tickets are in a keyring that the standby does not have")
    wanted = {}
    for name in {*variables, *started}:
        matters = name.startswith(AT_START) or name in asked and name not in NO_MATTER
        if matters and variables.get(name) != started.get(name):
            wanted[name] = variables.get(name)
    if wanted:
        raise Refused("its variables differ from those that the standby was started with: "
                      + ", ".join(sorted(wanted)), wanted)
    batch = [name for name in BATCH if name in variables]
    if batch:
        raise Refused(f"it is part of a batch job ({batch[0]})")


def text_of(path):
    with open(path, errors="surrogateescape") as file:
        return file.read()


def status_of(process):
    lines = (line.partition(":") for line in text_of(f"/proc/{process}/status").splitlines())
    return {name: value.strip() for name, _, value in lines}


def memory_policy(process):
    """How memory is spread over the nodes of the machine (numa(7))."""
    try:
        with open(f"/proc/{process}/numa_maps", "rb", 0) as file:
            return file.read(200).split()[1:2]
    except OSError:
        return None


def same_rights(peer):
    """Refuses a caller that sees another system, or may do what this process may not, or the reverse."""
    mine, its = status_of("self"), status_of(peer)
    for name in RIGHTS:
        if mine.get(name) != its.get(name):
            raise Refused(f"its rights are others ({name} is {its.get(name)}, and the standby has {mine.get(name)})")
    if memory_policy("self") != memory_policy(peer):
        raise Refused("it has another memory policy")
    for link in ["root", *(f"ns/{name}" for name in sorted(os.listdir("/proc/self/ns")))]:
        if os.readlink(f"/proc/self/{link}") != os.readlink(f"/proc/{peer}/{link}"):
            raise Refused(f"it is in another namespace ({link})")
    try:
        label, its_label = text_of("/proc/self/attr/current"), text_of(f"/proc/{peer}/attr/current")
    except OSError:
        return  # no security module
    if label != its_label:
        raise Refused("a security module confines it in another way")


def same_cgroup(peer):
    """Moves this process to the caller's control group. Returns both paths where that is not allowed."""
    mine, its = text_of("/proc/self/cgroup"), text_of(f"/proc/{peer}/cgroup")
    if mine == its:
        return None
    path, its_path = ("/sys/fs/cgroup" + text.strip()[3:] for text in (mine, its))
    if not (mine.startswith("0::/") and its.startswith("0::/") and os.path.isdir(its_path) and os.path.isdir(path)):
        raise Refused("it is in another control group, which cannot be looked at")
    try:
        with open(its_path + "/cgroup.procs", "w") as procs:
            procs.write(str(os.getpid()))
        return None
    except OSError:
        return path, its_path


def unlimited(path, its_path):
    """Refuses control groups that limit one of the two and not the other."""
    common = os.path.commonpath((path, its_path))
    for group in (path, its_path):
        while group != common:
            for name, default in NO_LIMIT.items():
                try:
                    text = text_of(f"{group}/{name}").strip()
                except OSError:
                    continue  # nobody limits that there
                if text != default and text.split()[:1] != default.split():
                    raise Refused(f"the limits differ: {group}/{name} is {text}")
            group = os.path.dirname(group)


def same_limits(limits):
    """Sets the limits of the order. Returns whether the hard ones could be made equal too."""
    exact = True
    for name, pair in limits.items():
        number = getattr(resource, "RLIMIT_" + name.upper(), None)
        if number is None:
            continue
        wanted = tuple(resource.RLIM_INFINITY if n is None else n for n in pair)
        now = resource.getrlimit(number)
        if wanted == now:
            continue
        if name == "stack":  # the C library has read it for threads
            raise Refused("its limit of the stack differs, which counts from a process's start")
        try:
            resource.setrlimit(number, wanted)
        except (OSError, ValueError):
            exact = False
            try:
                resource.setrlimit(number, (wanted[0], now[1]))
            except (OSError, ValueError) as error:
                raise Refused(f"its limit of {name} cannot be set: {error}") from error
    return exact


def same_score(peer):
    score, its = (text_of(f"/proc/{process}/oom_score_adj") for process in ("self", peer))
    if score == its:
        return True
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(its)
        return True
    except OSError:
        return False


def same_priority(order, peer):
    changed = False
    try:
        if os.getpriority(os.PRIO_PROCESS, 0) != order["nice"]:
            os.setpriority(os.PRIO_PROCESS, 0, order["nice"])
            changed = True
        if not peer:
            return
        if os.sched_getscheduler(0) != os.sched_getscheduler(peer):
            raise Refused("it has another scheduling policy")
        if os.sched_getaffinity(0) != os.sched_getaffinity(peer):
            os.sched_setaffinity(0, os.sched_getaffinity(peer))
            changed = True
        import psutil  # ipykernel needs it

        its = psutil.Process(peer).ionice()
        if psutil.Process().ionice() != its:
            psutil.Process().ionice(*its)
            changed = True
        if changed and len(os.listdir("/proc/self/task")) > 1:
            raise Refused("its priority or its processors differ, and a module has already started threads")
    except ImportError:
        pass
    except OSError as error:
        raise Refused(f"its priority cannot be had: {error}") from error


def same_modules():
    """Refuses a caller in whose folder a cell would find another module than was imported ahead, or its settings."""
    if not ahead:
        return
    import importlib.machinery

    endings = tuple(importlib.machinery.all_suffixes())
    for name in os.listdir("."):
        top = name.partition(".")[0]
        if top not in ahead and name != "matplotlibrc":
            continue
        if name in ("matplotlibrc", *(top + ending for ending in endings)) or os.path.exists(f"{name}/__init__.py"):
            raise Refused(f"{name} in its folder counts for what was imported ahead")


def same_signals(ignored):
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in sorted(signal.valid_signals() - {signal.SIGPIPE, getattr(signal, "SIGXFSZ", signal.SIGPIPE)}):
        if number in (signal.SIGKILL, signal.SIGSTOP):
            continue
        if int(number) in ignored:
            signal.signal(number, signal.SIG_IGN)
        elif signal.getsignal(number) == signal.SIG_IGN:
            default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, default)


def take_descriptors(caller, numbers):
    """Takes over what the caller was started with beyond the streams, under the same numbers."""
    global LIFELINE, answer
    if not numbers:
        return
    own, moved = [LIFELINE, caller.connection.fileno(), *caller.descriptors], []
    try:
        for fd in own:  # out of the way
            moved.append(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, max(numbers) + 1))
    except OSError as error:
        raise Refused(f"it was started with descriptor {max(numbers)}, which cannot be had: {error}") from error
    caller.connection.close()
    for fd in (LIFELINE, *caller.descriptors):
        os.close(fd)
    LIFELINE, connection, *caller.descriptors = moved
    caller.connection, answer = socket.socket(fileno=connection), os.fdopen(LIFELINE, "w", closefd=False)
    for number in numbers:
        try:
            os.fstat(number)
        except OSError:
            continue
        raise Refused(f"it was started with descriptor {number}, which a module of the standby has open")
    for number, fd in zip(numbers, caller.descriptors[-len(numbers) :]):
        os.dup2(fd, number)
        os.close(fd)
    del caller.descriptors[-len(numbers) :]


def take_place(order, caller):
    """Puts this process where a plain kernel of the caller would be."""
    same_variables(dict(pair.split("=", 1) for pair in reversed(order["environ"]) if "=" in pair), order["cwd"])
    peer = 0
    if sys.platform == "linux":
        peer, _, _ = struct.unpack("3i", caller.connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if not peer:
            raise Refused("it is in a PID namespace that the standby cannot see")
        same_rights(peer)
    exact = same_limits(order["limits"])
    same_priority(order, peer)
    if peer:
        apart = same_cgroup(peer)
        if not (same_score(peer) and exact) or apart:
            unlimited(*(apart or ("/proc", "/proc")))
    os.chdir(order["cwd"])
    same_modules()
    os.umask(order["umask"])
    take_descriptors(caller, order["descriptors"])
    same_signals(set(order["ignored"]))


def take_streams(descriptors):
    sys.stdout.flush()
    sys.stderr.flush()
    for number, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.__stdout__.reconfigure(line_buffering=os.isatty(1))


def take_variables(environ):
    os.environ.clear()
    for pair in reversed(environ):  # of several with one name, Python takes the first
        name, found, value = pair.partition("=")
        if name and found:
            os.environ[name] = value
    if coerced:
        os.environ["LC_CTYPE"] = coerced
    os.environ.update(made)
    time.tzset()


def kill_at_end(connection):
    """Has the system end this process and its group when the other end hangs up. False where it cannot."""
    if not hasattr(fcntl, "F_SETSIG"):
        return False
    fcntl.fcntl(connection, fcntl.F_SETOWN, -os.getpid())
    fcntl.fcntl(connection, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(connection, fcntl.F_SETFL, fcntl.fcntl(connection, fcntl.F_GETFL) | os.O_ASYNC)
    hangup = select.poll()
    hangup.register(connection, select.POLLIN)
    if hangup.poll(0):  # before it was watched
        os.killpg(0, signal.SIGKILL)
    return True


def live_on(connection):
    """Takes kill_at_end back."""
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(connection, fcntl.F_SETFL, fcntl.fcntl(connection, fcntl.F_GETFL) & ~os.O_ASYNC)


def end_with(connection):
    """Ends this process and its group when the caller hangs up, even in native code that never comes back."""
    if kill_at_end(connection):
        return

    def watch():
        try:
            connection.recv(1)
        except OSError:
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def become(order, caller, path):
    """Is the kernel from here on."""
    connection = caller.connection
    listeners = dict(zip(order["listening"], caller.descriptors[3:]))
    take_streams(caller.descriptors)
    os.environ.__class__ = plain_environ
    take_variables(order["environ"])
    try:
        os.unlink(path)  # as long as it is there, this is not a kernel
    except OSError:
        pass
    code, process = [1], os.getpid()

    def tell_exit():
        if os.getpid() != process:
            return
        live_on(connection)
        try:
            connection.sendall(json.dumps({"exit": code[0]}).encode() + b"\n")
        except OSError:
            pass

    atexit.register(tell_exit)
    live_on(LIFELINE)
    try:
        connection.sendall(json.dumps({"started": process}).encode() + b"\n")
    except OSError:
        os._exit(1)  # the caller gave up, and starts a plain kernel
    with socket.socket(fileno=os.dup(LIFELINE)) as lifeline:
        message = json.dumps({"adopted": True}).encode() + b"\n"
        try:
            rights = array.array("i", [connection.fileno()])
            lifeline.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        except OSError:
            pass  # the daemon is gone, and a kernel goes on without it
    os.close(LIFELINE)
    if not order.get("independent"):
        end_with(connection)
    from ipykernel.kernelapp import IPKernelApp

    def init_poller(self):  # the parent is the daemon, and the connection is watched in its place
        self.parent_handle = int(os.environ.get("JPY_PARENT_PID") or 0)

    IPKernelApp.init_poller = init_poller
    for name in ("gc", "ipykernel_launcher"):
        sys.modules.pop(name, None)  # a plain kernel has not imported them
    try:
        launch(order["argv"], listeners, order.get("release"))
        code[0] = 0
    except SystemExit as end:
        code[0] = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise


def main():
    with socket.socket(fileno=os.dup(LIFELINE)) as lifeline:
        lifeline.setblocking(True)
        data, descriptors = receive(lifeline, 1 << 16, 1)
    if not data or not descriptors:
        os._exit(0)
    task = json.loads(data)
    kill_at_end(LIFELINE)  # also in an import that hangs
    listener = socket.socket(fileno=descriptors[0])
    imported = variables()
    made.update((name, imported[name]) for name in imported.keys() - started.keys() - {"LC_CTYPE"})
    faults, without = preload(task["preload"]) if task["preload"] else ([], "")
    gc.collect()
    gc.freeze()
    tell(ready=not without, faults=faults, without=without)
    if without:
        os._exit(0)
    caller, order = wait(listener)
    listener.close()
    try:
        take_place(order, caller)
    except (Refused, OSError, ValueError, OverflowError) as why:
        tell(refused=str(why), wanted=getattr(why, "wanted", {}))
        caller.connection.sendall(json.dumps({"refused": str(why)}).encode() + b"\n")
        os._exit(0)
    become(order, caller, task["path"])


main()
