"""Has a daemon started where none runs, for a client that was told to: Client(autostart=True)."""

import os
import subprocess
import sys
import sysconfig
from typing import Optional

from ._errors import ConnectError

START_TIME = 30.0  # seconds; runt itself gives up after 10
TOLD_MOST = 16 << 10  # bytes of what it says
NO_WINDOW = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # on Windows alone


def find_runt() -> Optional[str]:
    """The runt that pip put beside this Python, activated or not: with runtimed-client[bin] it is of the version of this client.
    Else the one on PATH, else where pip --user and others put it, which not every PATH has.

    A relative folder does not count: anybody's file may lie there."""
    name = "runt.exe" if sys.platform == "win32" else "runt"
    beside, user = sysconfig.get_path("scripts"), sysconfig.get_path("scripts", f"{os.name}_user")
    for folder in (beside, *os.get_exec_path(), user, os.path.join(os.path.expanduser("~"), ".local", "bin")):
        path = os.path.join(folder, name)
        if os.path.isabs(folder) and os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def start_daemon(nobody: ConnectError, socket: Optional[str], runt: Optional[str]) -> None:
    """Returns when a daemon answers, whoever started it. `nobody` says that none did; `socket` is where it shall listen, or None."""
    program = runt or find_runt()
    if not program:
        raise ConnectError(
            f"{nobody.message}; there is no runt beside this Python, on PATH or in ~/.local/bin that could start one",
            kind=nobody.kind,
            hint='install runtimed, as runtimed-client[bin] does, or say where its runt is: Client(autostart=True, runt="/path/to/runt")',
        )
    problem, hint = "", "see for yourself with: runt daemon start"
    try:
        done = subprocess.run(
            [program, "daemon", "start", "--auto"],
            env={**os.environ, "RUNTIMED_SOCKET": socket} if socket else None,
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
        said = done.stderr[-TOLD_MOST:].decode(errors="replace").strip().splitlines()[-20:]
        hint = next((line[len("runt: hint: ") :] for line in said if line.startswith("runt: hint: ")), hint)
        errors = [line.replace("runt: error: ", "", 1) for line in said if not line.startswith("runt: hint: ")]
        problem = "\n".join(errors) or f"{program} ended with {done.returncode}"
    raise ConnectError(f"{nobody.message}; starting one failed: {problem}", kind=nobody.kind, hint=hint)
