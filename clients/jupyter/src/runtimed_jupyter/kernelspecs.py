"""Leaves the kernels of pools that are off or gone out of what Jupyter Server lists: a launcher offers what there is.

They are left out of the list alone. Whoever starts such a kernel by its name gets one that says why it cannot run.
"""

import asyncio
import json
import subprocess
from typing import Any, Optional

from jupyter_server.services.kernelspecs.handlers import MainKernelSpecHandler
from jupyter_server.utils import ensure_async
from runtimed_client import AsyncClient, RuntimedError
from runtimed_client._start import NO_WINDOW, find_runt

from .leases import starts_runt

MOST = 1.0  # seconds for a daemon, and for runt: a launcher waits for the list


class KernelSpecsHandler(MainKernelSpecHandler):
    """GET /api/kernelspecs."""

    @property
    def kernel_spec_manager(self) -> Any:
        return Offered(super().kernel_spec_manager)


class Offered:
    """A manager of kernelspecs, without those that have no pool."""

    def __init__(self, manager: Any) -> None:
        self._manager = manager

    async def get_all_specs(self) -> dict[str, Any]:
        specs = await ensure_async(self._manager.get_all_specs())
        # Those of a gateway have their resources, and start where it runs.
        pools = {name: pool_of(info.get("spec")) for name, info in specs.items() if "resources" not in info}
        if not any(pools.values()):
            return dict(specs)
        there = await pools_that_are_on()
        if there is None:
            return dict(specs)
        offered = {name: info for name, info in specs.items() if not pools.get(name) or pools[name] in there}
        return offered or dict(specs)  # JupyterLab takes an empty list for a broken server


def pool_of(spec: Any) -> Optional[str]:
    """The pool without which a kernel cannot start, if there is one. A kernelspec of others may hold anything."""
    try:
        argv, provisioner = spec["argv"], spec["metadata"].get("kernel_provisioner", {})
        if provisioner.get("provisioner_name") == "runtimed":
            config = provisioner.get("config", {})
            pool = config.get("pool") or "uv"
            return None if config.get("project") or not isinstance(pool, str) else pool
        if not starts_runt(argv):
            return None
        given: dict[str, str] = {}
        words = iter(argv[2 : argv.index("--")] if "--" in argv else argv[2:])
        for word in words:
            option, equals, value = word.partition("=")
            given[option] = value if equals else next(words, "") if option in ("--pool", "--project") else ""
        return None if "--project" in given else given.get("--pool", "uv")
    except (AttributeError, IndexError, KeyError, TypeError):
        return None


async def pools_that_are_on() -> Optional[set[str]]:
    """What the daemon says, else the configuration of the one that a kernel would start. None if that is unknown."""
    try:
        async with AsyncClient(timeout=MOST) as client:
            return {pool.name for pool in (await client.status()).pools if pool.target}
    except RuntimedError as error:
        if error.kind != "unreachable":
            return None
    runt = find_runt()
    return await asyncio.to_thread(configured, runt) if runt else None


def configured(runt: str) -> Optional[set[str]]:
    """The pools that are not off by the configuration."""
    try:
        done = subprocess.run(
            [runt, "config", "show", "--json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=MOST,
            check=True,
            creationflags=NO_WINDOW,
        )
        values = {setting["key"]: setting["value"] for setting in json.loads(done.stdout)["settings"]}
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return None
    sizes = {key: size for key, size in values.items() if key.startswith("pools.") and key.endswith(".size")}
    return {key[len("pools.") : -len(".size")] for key, size in sizes.items() if size}
