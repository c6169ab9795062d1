"""Starts a daemon where none runs, for a client that was told to: Client(autostart=True)."""

import contextlib
import copy
import os
import re
import subprocess
import sys
import sysconfig
from typing import Any, Optional, Union

from ._errors import ConnectError, RPCError, RuntimedError

Place = Union[str, "os.PathLike[str]", None]
START_TIME = 30.0  # seconds; runt itself gives up after 10
MAX_OUTPUT = 16 << 10  # bytes of what it says
NO_WINDOW = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # on Windows alone


class Starter:
    """Starts daemons for one client. `socket` is where they listen, if the caller gave it."""

    def __init__(self, wanted: bool, socket: Optional[str], runt: Place) -> None:
        self._wanted, self._socket, self._runt = wanted, socket, runt
        self._met = not wanted  # once a daemon was met, the next call starts none: somebody ended that one

    def allowed(self) -> bool:
        return self._wanted and not os.environ.get("RUNTIMED_NO_START")

    async def ensure_daemon(self, client: Any) -> None:
        """Before the first call of a client, start a daemon if none listens."""
        if self._met:
            return
        probe = copy.copy(client)
        probe._starter = Starter(False, None, None)
        try:
            await probe.info()
        except ConnectError as unreachable:
            if unreachable.kind != "unreachable" or not self.allowed():
                raise
            await client._start(unreachable)
            await probe.info()
        self._met = True

    def start(self, unreachable: RuntimedError) -> None:
        """Return when a daemon answers, whoever started it. `unreachable` is the error of the first try."""
        program = os.fspath(self._runt) if self._runt else find_runt()
        if not program:
            places = "beside this Python, on PATH or in ~/.local/bin"
            raise ConnectError(
                f"{unreachable.message}; there is no runt {places} that could start one",
                kind=unreachable.kind,
                hint="install runtimed, as runtimed-client[bin] does, or say where its runt is: "
                'Client(autostart=True, runt="/path/to/runt")',
            )
        problem, hint = "", "to see why: runt daemon start"
        try:
            done = subprocess.run(
                [program, "daemon", "start", "--auto"],
                env={**os.environ, "RUNTIMED_SOCKET": self._socket} if self._socket else None,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=START_TIME,
                start_new_session=True,  # a Ctrl-C that is meant for us must not end a start that others wait for
                creationflags=NO_WINDOW,
            )
        except subprocess.TimeoutExpired:
            problem = f"{program} did not end within {START_TIME:.0f} s"
        except OSError as exc:
            problem, hint = (
                f"{program} cannot be run: {exc.strerror or exc}",
                "install runtimed, or correct the path of runt",
            )
        else:
            if done.returncode == 0:
                return
            said = done.stderr[-MAX_OUTPUT:].decode(errors="replace").strip().splitlines()[-20:]
            hint = next((line[len("runt: hint: ") :] for line in said if line.startswith("runt: hint: ")), hint)
            errors = [line.replace("runt: error: ", "", 1) for line in said if not line.startswith("runt: hint: ")]
            problem = "\n".join(errors) or f"{program} ended with {done.returncode}"
        raise ConnectError(f"{unreachable.message}; starting one failed: {problem}", kind=unreachable.kind, hint=hint)


def user_home() -> str:
    """The home that the user database has for this user. Empty if it has none, as on Windows."""
    with contextlib.suppress(ImportError, KeyError):
        import pwd

        return pwd.getpwuid(os.geteuid()).pw_dir
    return ""


def absolute(home: str) -> str:
    """What user_home tells, where that is a place."""
    if home.startswith("/"):
        return home
    problem = "HOME is not set, and the user database has no home for this user"
    raise ConnectError(problem, kind="unreachable", hint="set it, or RUNTIMED_SOCKET")


MOUNTINFO = "/proc/self/mountinfo"  # see proc(5)
NETWORKS = (
    r"nfs4?|cifs|smb3|smbfs|9p|afs|ceph|lustre|gpfs|beegfs|gfs2|ocfs2|orangefs|panfs|wekafs|"
    r"fuse\.(sshfs|glusterfs|ceph|ceph-fuse|s3fs|gcsfuse|rclone|juicefs|mfs)"
)


def usual_socket(platform: str, folder: str, mountinfo: str = "") -> str:
    """The socket in this folder, or if other machines see the folder too, in one on the machine's own disk."""
    common = "/var/tmp"
    with contextlib.suppress(OSError):  # there is no list of mounts, say
        fit = os.stat(common).st_mode & 0o41000 == 0o41000 and os.access(common, os.W_OK)  # a folder, and sticky
        if platform == "linux" and fit and re.fullmatch(NETWORKS, mount_at(folder, mountinfo)[0]):
            kind, options = mount_at(common, mountinfo)
            if not re.fullmatch(NETWORKS, kind) and "noexec" not in options.split(","):
                folder = f"{common}/runt-{os.geteuid()}"
    return f"{folder}/runtimed.sock"


def mount_at(path: str, mountinfo: str) -> tuple[str, str]:
    """The file system that this path, or the nearest above it that is there, is on, and the options of its mount."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    real, at, mounted = os.path.realpath(path).rstrip("/"), "", ("", "")  # first: looking has an automounter mount it
    with open(mountinfo or MOUNTINFO, encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
        for line in lines:
            if found := re.match(r"(?:[^ ]+ ){4}([^ ]+) ([^ ]+) (?:.*? )?- ([^ ]+) ", line, re.DOTALL):
                mount = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), found[1]).rstrip("/")
                if f"{real}/".startswith(f"{mount}/") and len(mount) >= len(at):
                    at, mounted = mount, (found[3], found[2])
    return mounted


def find_runt() -> Optional[str]:
    """The path of runt. First the one that pip put beside this Python: runtimed-client[bin] has it of this version.

    Then the one on PATH, then where pip --user and others put it, which not every PATH has. A relative folder does not
    count: anybody's file may lie there.
    """
    name = "runt.exe" if sys.platform == "win32" else "runt"
    beside, user = sysconfig.get_path("scripts"), sysconfig.get_path("scripts", f"{os.name}_user")
    home = os.path.expanduser("~") if os.name == "nt" else os.environ.get("HOME") or user_home()
    for folder in (beside, *os.get_exec_path(), user, os.path.join(home, ".local", "bin")):
        path = os.path.join(folder, name)
        if os.path.isabs(folder) and os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def explain_old(error: RPCError) -> None:
    """Add what to do if a daemon older than this client does not know a member of params."""
    if error.kind == "invalid_params" and error.message == f"unknown member {error.data.get('param')}":
        error.hint = "the daemon is older than this client; start the new one with: runt daemon restart"
