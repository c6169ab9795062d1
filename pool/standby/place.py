# Puts a standby where a plain kernel of its caller would be, or refuses. docs/protocol.md has what must be equal.
import fcntl
import re
import resource

# Python, the C library, or a library when it is loaded, reads these once.
AT_START = (
    "PYTHON", "LD_", "DYLD_", "MALLOC_", "GLIBC_TUNABLES", "LANG", "LC_", "OMP_", "KMP_", "GOMP_", "MKL_", "OPENBLAS_",
    "GOTO_", "BLIS_", "VECLIB_", "NUMEXPR_", "CUDA_", "NVIDIA_", "HIP_", "ROCR_", "TORCH_", "PYTORCH_", "XLA_", "TF_",
    "OPENSSL_", "NCCL_", "TBB_", "NPY_", "HDF5_", "ARROW_", "POLARS_", "RAYON_", "OPENCV_", "OMPI_", "UCX_",
    "MIMALLOC_", "GDAL_", "PROJ_",
)
# Python and the linker resolve what these name against the folder that they start in.
AGAINST_CWD = ("PYTHONPATH", "PYTHONUSERBASE", "PYTHONPYCACHEPREFIX", "LD_PRELOAD", "LD_LIBRARY_PATH")
RIGHTS = (
    "Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp",
    "Seccomp_filters", "Mems_allowed",
)
NO_LIMIT = {
    "memory.max": "max", "memory.high": "max", "memory.swap.max": "max", "memory.swap.high": "max", "pids.max": "max",
    "cpu.max": "max", "cpu.weight": "100", "cpu.idle": "0", "cpuset.cpus": "", "cpuset.mems": "", "io.max": "",
    "io.weight": "default 100",
}


class Refused(Exception):
    """Why the caller must start a plain kernel. wanted: the variables that the next standby should start with."""

    def __init__(self, why, wanted=None):
        super().__init__(why)
        self.wanted = wanted or {}


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
    job = batch_job(variables)
    if job:
        raise Refused(f"it is part of a batch job ({job})")


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
