"""Who uses the environments: the leases of the daemon, and the kernels of this server that hold them."""

import contextlib
import hashlib
import os
import re
from collections.abc import Iterable
from typing import Any, Optional

from runtimed_client import AsyncClient

from .provisioner import RuntimedProvisioner

Listed = dict[str, Any]  # one environment in env.list
ONE_START = re.compile("#[A-Z2-7]{26}$")  # after the name of a kernel that has a fresh environment at each start


def is_warm(kernel: Any) -> bool:
    """Whether a kernel of this server can be in an environment of a pool. Others are none of our business."""
    provisioner = getattr(kernel, "provisioner", None)
    if provisioner is None:  # of a gateway, say: jupyter_client would look for the kernelspec here, and raise
        return False
    if isinstance(provisioner, RuntimedProvisioner):
        return True
    return starts_runt(getattr(kernel.kernel_spec, "argv", None) or [])


def starts_runt(argv: list[str]) -> bool:
    return len(argv) > 1 and os.path.basename(argv[0]) in ("runt", "runt.exe") and argv[1] == "kernel"


def holds(kernel: Any, env: Listed) -> bool:
    """Whether a kernel, which is warm, has the lease of an environment."""
    lease, provisioner = env["lease"], kernel.provisioner
    if isinstance(provisioner, RuntimedProvisioner) and provisioner.lease is not None:
        return bool(env["id"] == provisioner.lease.id)
    session = "jupyter " + os.path.abspath(kernel.connection_file)  # as `runt kernel` names it
    names = (session, "jupyter " + hashlib.sha256(session[8:].encode()).hexdigest())
    return ONE_START.sub("", lease["session"]) in names


async def leased() -> list[Listed]:
    async with AsyncClient() as client:
        return list((await client.call("env.list", {"state": "leased"}))["envs"])


def is_unused(env: Listed) -> bool:
    """Whether nobody can be using an environment: its lease waits for a session, or for its end to be noticed."""
    return not env["lease"]["alive"] and not env["lease"].get("where")


def memory(envs: Iterable[Listed]) -> dict[str, int]:
    """Bytes of the processes in each environment, by its id: what only they have, and their part of what they share.

    A process is in an environment if its owner, its command line or its variables say so. Only Linux tells.
    """
    found: dict[str, int] = {}
    owners = {str(env["lease"]["owner_pid"]): env["id"] for env in envs}
    paths = {os.fsencode(env["path"]): env["id"] for env in envs}
    names = re.compile(b"|".join(map(re.escape, paths)) or b"(?!)")
    for pid in filter(str.isdigit, os.listdir("/proc") if os.path.isdir("/proc") else ()):
        with contextlib.suppress(OSError):  # it has ended, or is somebody else's
            id = owners.get(pid)
            if id is None and (said := names.search(read(pid, "cmdline")) or names.search(read(pid, "environ"))):
                id = paths[said[0]]
            share = re.search(rb"^Pss: +(\d+) kB", read(pid, "smaps_rollup"), re.MULTILINE) if id else None
            if id and share:
                found[id] = found.get(id, 0) + int(share[1]) * 1024
    return found


def read(pid: str, name: str) -> bytes:
    with open(f"/proc/{pid}/{name}", "rb") as file:
        return file.read()


def kernel_of(env: Listed, kernels: Any) -> Optional[str]:
    """The id of the kernel of this server that has the environment."""
    for id in kernels.list_kernel_ids():
        with contextlib.suppress(KeyError):  # it ended meanwhile
            if is_warm(kernel := kernels.get_kernel(id)) and holds(kernel, env):
                return str(id)
    return None
